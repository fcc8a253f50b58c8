"""Training: rows, objectives, the loop and its checkpoints."""
