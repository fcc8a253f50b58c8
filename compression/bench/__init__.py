"""Measure what variants save, interleaved on one machine, and hold it against targets."""
