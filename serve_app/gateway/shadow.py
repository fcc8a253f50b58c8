"""Shadow traffic: a variant sees a sample of the requests, answers nobody, and is compared.

A shadow is offered after the answer is sent, to tasks that live as long as the gateway: the
caller's disconnect cannot cancel it and its failure cannot reach the caller. The queue is bounded;
what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app.backends.base import Backend
from serve_app.config import ShadowConfig
from serve_app.errors import BackendUnavailableError, DeadlineExceededError, QueueFullError
from serve_app.metrics import GatewayMetrics
from serve_app.runners import Arrays
from serve_app.terms import Terms

_log = logging.getLogger("serve_app")

_TERMS = Terms("shadow", math.inf)
"""All shadows are one caller: together they get one share of a variant that is busy."""


@dataclass(frozen=True, slots=True)
class _Offer:
    variant: str
    inputs: Arrays
    rows: int
    scores: npt.NDArray[Any]
    threshold: float


class Shadows:
    """The shadow requests of one gateway replica.

    `thresholds` maps each variant to the threshold its own decisions are made at, those too that
    are not served any more: a shadow may wait longer than its variant stays.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        thresholds: Mapping[str, float],
        score_output: str,
        metrics: GatewayMetrics,
        config: ShadowConfig,
    ) -> None:
        self._backends = backends
        self._thresholds = thresholds
        self._score_output = score_output
        self._metrics = metrics
        self._config = config
        self._queue: asyncio.Queue[_Offer] = asyncio.Queue()
        self._queued_rows = 0
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the tasks; call it on the gateway's event loop, outside any request."""
        for _ in range(self._config.max_concurrent):
            self._workers.append(asyncio.get_running_loop().create_task(self._work()))

    async def close(self) -> None:
        """Stop; what waits is not made."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()

    def offer(self, variant: str, inputs: Arrays, rows: int, answered_by: str, out: Arrays) -> None:
        """Take a request that was answered into the queue, or drop it. Never raises or waits."""
        if variant == answered_by:
            return
        if self._queued_rows + rows > self._config.max_queued_rows:
            self._metrics.shadow[variant].dropped["queue_full"].inc()
            return
        self._queued_rows += rows
        scores, threshold = out[self._score_output], self._thresholds[answered_by]
        self._queue.put_nowait(_Offer(variant, inputs, rows, scores, threshold))

    async def drained(self) -> None:
        """Return when all that was offered has been dealt with."""
        await self._queue.join()

    async def _work(self) -> None:
        while True:
            offer = await self._queue.get()
            self._queued_rows -= offer.rows
            try:
                await self._shadow(offer)
            finally:
                self._queue.task_done()

    async def _shadow(self, offer: _Offer) -> None:
        metrics = self._metrics.shadow[offer.variant]
        backend = self._backends.get(offer.variant)
        if backend is None:
            # It was removed while this waited.
            metrics.dropped["unavailable"].inc()
            return
        try:
            computed = await backend.infer(offer.inputs, offer.rows, _TERMS)
            self._compare(offer, computed.outputs[self._score_output])
        except (QueueFullError, DeadlineExceededError):
            metrics.dropped["shed"].inc()
        except BackendUnavailableError:
            metrics.dropped["unavailable"].inc()
        except Exception:  # noqa: BLE001
            # A boundary: whatever a shadow does, the gateway goes on.
            metrics.dropped["failed"].inc()
            _log.warning("shadow %s failed", offer.variant, exc_info=True)

    def _compare(self, offer: _Offer, scores: npt.NDArray[Any]) -> None:
        metrics = self._metrics.shadow[offer.variant]
        answered, shadowed = offer.scores.ravel(), scores.ravel()
        alerts = shadowed >= self._thresholds[offer.variant]
        flips = int(np.count_nonzero(alerts != (answered >= offer.threshold)))
        metrics.rows.inc(offer.rows)
        metrics.flips.inc(flips)
        for difference in np.abs(shadowed - answered).tolist():
            metrics.difference.observe(difference)
