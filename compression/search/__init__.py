"""Search the chains of a recipe's techniques for the variant that meets given targets."""
