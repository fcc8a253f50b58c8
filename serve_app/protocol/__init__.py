"""The Open Inference Protocol v2 over HTTP: requests and answers in JSON, in bytes, or mixed."""
