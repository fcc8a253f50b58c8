"""The ONNX file of the baselines, opened the same way by all of them."""

from __future__ import annotations

import os

import onnxruntime as ort

MODEL_VARIABLE = "SLIMSERVE_BENCH_MODEL"
"""Environment variable with the path of the ONNX file."""


def open_model() -> ort.InferenceSession:
    """A session on one CPU thread that does not spin, as slimserve opens it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = os.environ[MODEL_VARIABLE]
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
