"""What pruning is made of: which units go together, what they are worth, and when to stop."""
