"""Other ways to serve the same file, kept small, to hold slimserve against."""
