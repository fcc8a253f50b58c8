"""ONNX graphs: export from PyTorch, what is in them, and running them."""
