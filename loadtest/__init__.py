"""Measures, under load, what a compressed variant saves.

Speaks HTTP to any Open Inference Protocol server and reads the model store's plain files; it
imports neither the compression nor the serving package.
"""
