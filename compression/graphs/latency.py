"""Model-only latency: the runner alone, one thread, one call after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from compression.machine import this_machine
from compression.store.manifest import Latency, RowLatency

WARM_UP_CALLS = 10
MIN_CALLS = 30


def measure(call: Callable[[int], object], rows: Sequence[int], seconds_per_size: float) -> Latency:
    """Percentiles of `call(rows)` for each batch size; seconds per call."""
    return Latency(
        machine=this_machine(threads=1),
        by_rows=tuple(_one_size(call, size, seconds_per_size) for size in rows),
    )


def call_seconds(
    call: Callable[[int], object],
    rows: int,
    seconds: float,
    *,
    warm_up_calls: int = WARM_UP_CALLS,
    min_calls: int = MIN_CALLS,
) -> npt.NDArray[np.float64]:
    """float64[calls]: what each of `call(rows)` took, one after the other for `seconds`."""
    for _ in range(warm_up_calls):
        call(rows)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < min_calls or time.perf_counter() < until:
        started = time.perf_counter()
        call(rows)
        taken.append(time.perf_counter() - started)
    return np.array(taken)


def _one_size(call: Callable[[int], object], rows: int, seconds: float) -> RowLatency:
    taken = call_seconds(call, rows, seconds)
    p50, p90, p99 = (float(np.percentile(taken, q)) for q in (50, 90, 99))
    return RowLatency(
        rows=rows, calls=len(taken), p50_seconds=p50, p90_seconds=p90, p99_seconds=p99
    )
