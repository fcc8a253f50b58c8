"""Run an ONNX file as a server would: one thread, no spinning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from compression.training.scoring import Floats, Gather, Report, Rows, in_chunks, nothing


def open_session(model: bytes, threads: int = 1) -> Any:
    """An onnxruntime InferenceSession on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """First output, float32[n, …]."""
    return np.asarray(session.run(None, dict(inputs))[0], np.float32)


def scores_of(
    model: bytes, gather: Gather, rows: Rows, *, workers: int, report: Report = nothing
) -> Floats:
    """Outputs float32[len(rows), …] of an ONNX file."""
    session = open_session(model)
    return in_chunks(
        lambda inputs: run(session, inputs), gather, rows, workers=workers, report=report
    )
