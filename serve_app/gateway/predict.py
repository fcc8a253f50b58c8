"""Who answers a request: the routing table's choice, and the champion when that one fails."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from serve_app.backends.base import Backend
from serve_app.batching import Computed
from serve_app.errors import (
    BackendUnavailableError,
    NotFiniteError,
    NotReadyError,
    UnknownVariantError,
    VariantFailedError,
)
from serve_app.metrics import GatewayMetrics
from serve_app.protocol.codec import Decoded
from serve_app.routing.assignment import Assigned, Assignment
from serve_app.terms import ANYBODY, Terms


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Outputs, who made them and why; `failed` names the variant that should have."""

    computed: Computed
    variant: str
    why: str
    threshold: float
    """At which the publication that answered decides."""
    failed: str | None = None


class Predictor:
    """Chooses a backend and asks it; `backends` and `thresholds` are by variant, and may change."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        thresholds: Mapping[str, float],
        champion: str,
        score_output: str,
        metrics: GatewayMetrics,
    ) -> None:
        self.backends = backends
        self.champion = champion
        self._thresholds = thresholds
        self._score_output = score_output
        self._metrics = metrics
        self._assignment: Assignment | None = None

    @property
    def assignment(self) -> Assignment:
        """The routing table in force.

        Raises:
            NotReadyError: none has arrived yet.
        """
        if self._assignment is None:
            raise NotReadyError("the gateway has no routing table yet: try again")
        return self._assignment

    def use(self, assignment: Assignment) -> None:
        """Put a table in force, whole and at once."""
        self._assignment = assignment
        self._metrics.table_version.set(assignment.table.version)

    async def ready(self) -> bool:
        """Whether there is a table and the champion answers."""
        return self._assignment is not None and await self.backends[self.champion].ready()

    def choose(self, assignment: Assignment, key: str | None, pin: str | None) -> Assigned:
        """The variant for a request.

        Raises:
            UnknownVariantError: the pin names a variant that is not served.
        """
        if pin is None:
            return assignment.assign(key)
        if pin not in self.backends:
            raise UnknownVariantError(
                f"variant {pin!r} is not served, expected one of {', '.join(self.backends)}"
            )
        return Assigned(pin, "pin")

    async def predict(self, decoded: Decoded, assigned: Assigned, terms: Terms = ANYBODY) -> Answer:
        """Ask the variant; if it fails, ask the champion.

        A full queue is no failure, and neither is a deadline that passed: sending those callers to
        the champion would move the overload to the one variant that everybody depends on.

        Raises:
            QueueFullError: the variant sheds.
            DeadlineExceededError: there was no answer in time.
            VariantFailedError, BackendUnavailableError: the champion failed (too).
        """
        variant, why = assigned
        failed = None
        while True:
            try:
                backend = self._backend(variant)
                # Of the publication that computes: another may be served once it has.
                threshold = self._thresholds[variant]
                computed = await backend.infer(decoded.inputs, decoded.rows, terms)
                if not _finite(computed.outputs[self._score_output]):
                    raise NotFiniteError(f"variant {variant!r} answered a score that is not finite")
                return Answer(computed, variant, why, threshold, failed)
            except (VariantFailedError, BackendUnavailableError) as error:
                if failed is not None:
                    raise
                self._metrics.variant[variant].fallbacks[error.reason].inc()
                if variant == self.champion:
                    raise
                failed, variant, why = variant, self.champion, "fallback"

    def _backend(self, variant: str) -> Backend:
        backend = self.backends.get(variant)
        if backend is None:
            # The table is of before the variant was removed: the controller's next one is not.
            raise BackendUnavailableError(f"variant {variant!r} is not served any more: try again")
        return backend


def _finite(scores: npt.NDArray[Any]) -> bool:
    """Whether all are. Of the only one it is asked without numpy: 0.1 µs instead of 1.3."""
    if scores.size == 1:
        return math.isfinite(scores.item())
    return bool(np.isfinite(scores).all())
