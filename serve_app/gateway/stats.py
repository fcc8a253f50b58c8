"""The protocol's statistics extension: GET …/stats, over all replicas."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.gateway.control import Control
from serve_app.gateway.http import respond_json
from serve_app.statistics import VariantStatistics, total

_NANOSECONDS = 1e9
_MILLISECONDS = 1e3


class Stats:
    """The routes of the extension for one model."""

    def __init__(self, model: str, variants: Iterable[str], control: Control) -> None:
        """`variants` is read again for every answer."""
        self._model = model
        self._variants = variants
        self._control = control

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        base = f"/v2/models/{self._model}"
        routes: dict[str, dict[str, Handler]] = {
            "/v2/models/stats": {"GET": partial(self._stats, None)},
            f"{base}/stats": {"GET": partial(self._stats, None)},
        }
        for name in self._variants:
            routes[f"{base}/versions/{name}/stats"] = {"GET": partial(self._stats, name)}
        return routes

    async def _stats(self, variant: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        replicas = await self._control.gather_statistics()
        names = list(self._variants) if variant is None else [variant]
        summed = {
            name: total(replica[name] for replica in replicas if name in replica) for name in names
        }
        stats = [describe(self._model, name, summed[name]) for name in names]
        await respond_json(send, {"model_stats": stats})


def describe(model: str, variant: str, counted: VariantStatistics) -> dict[str, Any]:
    """One entry of `model_stats`: durations in ns, the last inference in ms since 1970.

    `inference_count` are rows and `execution_count` batches, so that their ratio is the mean batch.
    The times in `inference_stats` are summed over requests, those in `batch_stats` over batches:
    there, only the model's own time is known. Nothing is cached.
    """
    answered = counted.answered
    return {
        "name": model,
        "version": variant,
        "last_inference": int(counted.last_execution * _MILLISECONDS),
        "inference_count": counted.inference_count,
        "execution_count": counted.execution_count,
        "inference_stats": {
            "success": _duration(answered, counted.answered_seconds),
            "fail": _duration(counted.failed, counted.failed_seconds),
            "queue": _duration(answered, counted.queue_seconds),
            "compute_input": _duration(answered, counted.decode_seconds),
            "compute_infer": _duration(answered, counted.infer_seconds),
            "compute_output": _duration(answered, counted.encode_seconds),
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_infer": _duration(executions.count, executions.seconds),
            }
            for rows, executions in sorted(counted.by_rows.items())
        ],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * _NANOSECONDS)}
