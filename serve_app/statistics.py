"""Counts and durations of a variant, in the terms of the protocol's statistics extension.

They are kept beside the metrics because Prometheus has buckets where the extension wants exact
numbers: executions by batch size. A request adds to six numbers; nothing else is done for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Executions:
    """Batches of one size that went through the model."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class VariantStatistics:
    """Since the replica started. Times in seconds, summed; plain data, to be sent and added up.

    Requests are counted in the gateway that answered them, executions where the model runs; these
    include shadows.
    """

    answered: int = 0
    answered_seconds: float = 0.0
    """From the request's head to its answer's."""
    decode_seconds: float = 0.0
    queue_seconds: float = 0.0
    infer_seconds: float = 0.0
    """Of the whole batch, counted by each request in it."""
    encode_seconds: float = 0.0
    failed: int = 0
    failed_seconds: float = 0.0
    by_rows: dict[int, Executions] = field(default_factory=dict)
    last_execution: float = 0.0
    """Seconds since 1970."""

    def answer(
        self, seconds: float, decode: float, queue: float, infer: float, encode: float
    ) -> None:
        """A request was answered, in `seconds`, of which the phases took the others."""
        self.answered += 1
        self.answered_seconds += seconds
        self.decode_seconds += decode
        self.queue_seconds += queue
        self.infer_seconds += infer
        self.encode_seconds += encode

    def fail(self, seconds: float) -> None:
        """The variant could not answer a request, and that took `seconds`."""
        self.failed += 1
        self.failed_seconds += seconds

    def execute(self, rows: int, seconds: float) -> None:
        """A batch of `rows` rows was computed."""
        executions = self.by_rows.get(rows)
        if executions is None:
            executions = self.by_rows[rows] = Executions()
        executions.count += 1
        executions.seconds += seconds
        self.last_execution = time.time()

    @property
    def execution_count(self) -> int:
        """Batches computed."""
        return sum(executions.count for executions in self.by_rows.values())

    @property
    def inference_count(self) -> int:
        """Rows computed."""
        return sum(rows * executions.count for rows, executions in self.by_rows.items())


def total(parts: Iterable[VariantStatistics]) -> VariantStatistics:
    """The sum of what several replicas counted of one variant."""
    result = VariantStatistics()
    for part in parts:
        for name in _SUMS:
            setattr(result, name, getattr(result, name) + getattr(part, name))
        result.last_execution = max(result.last_execution, part.last_execution)
        for rows, executions in part.by_rows.items():
            kept = result.by_rows.setdefault(rows, Executions())
            kept.count += executions.count
            kept.seconds += executions.seconds
    return result


_SUMS = (
    "answered", "answered_seconds", "decode_seconds", "queue_seconds", "infer_seconds",
    "encode_seconds", "failed", "failed_seconds",
)  # fmt: skip
