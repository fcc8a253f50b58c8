"""Our log, written where Ray Serve writes its own: `<session>/logs/serve/replica_*.log`."""

from __future__ import annotations

import logging

LOG = "serve_app"
_SERVE_LOG = "ray.serve"


def join_serve_log() -> None:
    """Call it in a replica: a logger that Ray Serve does not know would be lost there."""
    ours, serves = logging.getLogger(LOG), logging.getLogger(_SERVE_LOG)
    ours.handlers = list(serves.handlers)
    ours.setLevel(logging.INFO)
    ours.propagate = False
