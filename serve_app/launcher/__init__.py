"""`python -m serve_app up`, in parts: flags, ports, the session with Ray, what is printed."""
