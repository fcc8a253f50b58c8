"""Compress a PyTorch model by recipe and publish its variants into a model store.

`compression.store` is the contract with the serving side; it imports neither torch nor onnx.
"""
