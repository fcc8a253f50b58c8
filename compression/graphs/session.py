"""Run an ONNX file as a server would: one thread, no spinning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from compression.training.rows import Inputs

CHUNK_ROWS = 64
Floats = npt.NDArray[np.float32]


def open_session(model: bytes, threads: int = 1) -> Any:
    """An onnxruntime InferenceSession on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """First output, float32[n]."""
    return np.asarray(session.run(None, dict(inputs))[0], np.float32).reshape(-1)


def scores_of(
    model: bytes,
    gather: Callable[[npt.NDArray[np.int64]], Inputs],
    rows: npt.NDArray[np.int64],
    *,
    workers: int,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Floats:
    """Scores float32[len(rows)]; chunks go to `workers` threads, one core each."""
    session = open_session(model)
    out = np.empty(len(rows), np.float32)
    starts = range(0, len(rows), CHUNK_ROWS)

    def chunk(start: int) -> int:
        chosen = rows[start : start + CHUNK_ROWS]
        out[start : start + len(chosen)] = run(session, gather(chosen))
        return len(chosen)

    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for count in pool.map(chunk, starts):
            done += count
            report(done, len(rows))
    return out
