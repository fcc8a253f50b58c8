"""Workloads to copy and change: each file stands on its own, as a user's does."""
