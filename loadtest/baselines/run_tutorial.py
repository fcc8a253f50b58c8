"""`python -m loadtest.baselines.run_tutorial PORT`: `serve run` of the tutorial on a port."""

from __future__ import annotations

import sys
import threading

import ray
from ray import serve

from loadtest.baselines.ray_tutorial import app

if __name__ == "__main__":
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": int(sys.argv[1])})
    serve.run(app)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
