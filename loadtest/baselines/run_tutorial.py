"""`python -m loadtest.baselines.run_tutorial PORT`: `serve run` of the tutorial on a port."""

from __future__ import annotations

import signal
import sys
import threading

import ray
from ray import serve

from loadtest.baselines.ray_tutorial import app

if __name__ == "__main__":
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"port": int(sys.argv[1])})
        serve.run(app)
        stopped = threading.Event()
        # After Ray's start, which sets handlers of its own. A job in a script's background would
        # ignore SIGINT otherwise.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
