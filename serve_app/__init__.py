"""slimserve's Ray Serve application: a model and its compressed variants behind one endpoint.

    serve run deploy/serve.yaml         # or: python -m serve_app up

`serve_app:app` is the application builder. It is found lazily, so that importing a part of this
package (a runner, the routing table) does not start importing Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve_app.application import app as app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name == "app":
        from serve_app.application import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
