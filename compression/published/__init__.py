"""The fraud workload held against the figures that were published for its design."""
