"""A bare loop around ONNX Runtime: what the model itself can do, without a server.

    SLIMSERVE_BENCH_MODEL=model.onnx python -m loadtest.baselines.ort_loop inputs.npz 5.0 2

calls the model with the arrays of inputs.npz for 5 s in 2 processes at once, one thread each, and
prints {"rows_per_second", "calls", "p50_seconds", "p99_seconds"} of both together.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.baselines.model import open_model

WARM_UP_CALLS = 20
_START_SECONDS = 60.0


def loop(path: str, seconds: float, start: Any, times: Any) -> None:
    """Call the model from the moment that all processes are warm; put the calls' seconds."""
    session = open_model()
    with np.load(path, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    for _ in range(WARM_UP_CALLS):
        session.run(None, feed)
    start.wait()
    taken = []
    before = time.perf_counter()
    end = before + seconds
    while before < end:
        session.run(None, feed)
        now = time.perf_counter()
        taken.append(now - before)
        before = now
    times.put(taken)


def run(path: str, seconds: float, processes: int) -> dict[str, float]:
    """Loop in `processes` processes; rows per second are those of all."""
    context = multiprocessing.get_context("spawn")
    start, times = context.Barrier(processes), context.Queue()
    loops = [
        context.Process(target=loop, args=(path, seconds, start, times), daemon=True)
        for _ in range(processes)
    ]
    for process in loops:
        process.start()
    # A process that dies puts nothing: queue.Empty, and not a wait without an end.
    taken: list[npt.NDArray[np.float64]] = [
        np.asarray(times.get(timeout=_START_SECONDS + seconds)) for _ in loops
    ]
    for process in loops:
        process.join()
    with np.load(path, allow_pickle=False) as archive:
        rows = len(archive[archive.files[0]])
    p50, p99 = np.quantile(np.concatenate(taken), (0.5, 0.99))
    return {
        "rows_per_second": float(sum(rows * len(one) / one.sum() for one in taken)),
        "calls": float(sum(len(one) for one in taken)),
        "p50_seconds": float(p50),
        "p99_seconds": float(p99),
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
