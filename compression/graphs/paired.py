"""Two graphs against each other: called in turn, so that a drifting machine drifts for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.graphs.latency import WARM_UP_CALLS
from compression.graphs.session import open_session, run
from compression.store.manifest import Estimate
from compression.tracing import TRACING

MIN_PAIRS = 50
REPLICATES = 500


@dataclass(frozen=True)
class PairedLatency:
    """Seconds of each call, float64[n], in pairs. `ratio` is the second's p50 over the first's."""

    first_seconds: npt.NDArray[np.float64]
    second_seconds: npt.NDArray[np.float64]

    @property
    def ratio(self) -> Estimate:
        """p50(second) / p50(first) with a 95 % interval by a bootstrap of the pairs."""
        drawn = np.random.default_rng(0).integers(
            0, len(self.first_seconds), (REPLICATES, len(self.first_seconds))
        )
        ratios = np.median(self.second_seconds[drawn], 1) / np.median(self.first_seconds[drawn], 1)
        low, high = np.percentile(ratios, (2.5, 97.5))
        value = np.median(self.second_seconds) / np.median(self.first_seconds)
        return Estimate(value=float(value), low=float(low), high=float(high))


def time_pairs(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> PairedLatency:
    """Call both in turn for `seconds`, at least MIN_PAIRS times, each first every other time."""
    for call in (first, second) * WARM_UP_CALLS:
        call()
    taken: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while len(taken) < MIN_PAIRS or time.perf_counter() < until:
        if len(taken) % 2:
            after, before = _timed(second), _timed(first)
        else:
            before, after = _timed(first), _timed(second)
        taken.append((before, after))
    first_seconds, second_seconds = np.asarray(taken).T
    return PairedLatency(first_seconds, second_seconds)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare_graphs(
    first: bytes, second: bytes, row: Mapping[str, npt.NDArray[Any]], seconds: float
) -> PairedLatency:
    """Both ONNX files on the same inputs, in ONNX Runtime on one thread.

    No training step runs beside it in this process: it would hold a core and the interpreter.
    """
    one, other = open_session(first), open_session(second)
    with TRACING.export():
        return time_pairs(lambda: run(one, row), lambda: run(other, row), seconds)
