"""Two graphs against each other: called in turn, so that a drifting machine drifts for both.

What is timed is the calling thread's time on the processor. With one thread ONNX Runtime does all
of its work there, so on a quiet machine that is the latency; on a busy one a clock on the wall
would time the neighbours (with eight processes a core, an interval came out as 0.16 to 0.97).
"""

from __future__ import annotations

import math
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
NARROW = 0.05
"""Half the width of an interval that is good enough, as a share of the ratio."""
MOST_SLICES = 6
REPLICATES = 500


@dataclass(frozen=True)
class PairedLatency:
    """Processor seconds of each call, float64[n], in pairs."""

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

    @property
    def is_narrow(self) -> bool:
        """Whether the ratio is known well enough."""
        ratio = self.ratio
        low, high = ratio.low or 0.0, ratio.high or math.inf
        return high - low <= 2 * NARROW * ratio.value


def time_pairs(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> PairedLatency:
    """Call both in turn for `seconds`, and for as long again until the ratio's interval is narrow.

    At least MIN_PAIRS times and at most MOST_SLICES times as long. Each is first every other time.
    """
    for call in (first, second) * WARM_UP_CALLS:
        call()
    taken: list[tuple[float, float]] = []
    for _ in range(MOST_SLICES):
        taken += _slice(first, second, seconds)
        first_seconds, second_seconds = np.asarray(taken).T
        found = PairedLatency(first_seconds, second_seconds)
        if found.is_narrow:
            break
    return found


def _slice(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> list[tuple[float, float]]:
    taken: list[tuple[float, float]] = []
    until = time.perf_counter() + seconds
    while len(taken) < MIN_PAIRS or time.perf_counter() < until:
        if len(taken) % 2:
            after, before = _timed(second), _timed(first)
        else:
            before, after = _timed(first), _timed(second)
        taken.append((before, after))
    return taken


def _timed(call: Callable[[], object]) -> float:
    started = time.thread_time()
    call()
    return time.thread_time() - started


def compare_graphs(
    first: bytes, second: bytes, row: Mapping[str, npt.NDArray[Any]], seconds: float
) -> PairedLatency:
    """Both ONNX files on the same inputs, in ONNX Runtime on one thread.

    No training step runs beside it in this process: it would hold a core and the interpreter.
    """
    one, other = open_session(first), open_session(second)
    with TRACING.alone():
        return time_pairs(lambda: run(one, row), lambda: run(other, row), seconds)
