"""The same ONNX file behind slimserve and behind other ways to serve it, held against targets."""
