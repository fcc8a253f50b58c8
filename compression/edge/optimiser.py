"""ONNX Runtime's own optimiser: what the runtime makes of a graph, saved.

The level is `extended`. The runtime does not optimise a file in ORT format again: below this level
QDQ pairs stay unfused and int8 runs in float, at a quarter of the speed and with other scores.
Above it the layout follows the processor that optimises, which is not the one that will run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from compression.errors import ExportError

REFUSALS = (
    state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf,
    state.NotImplemented, state.RuntimeException,
)  # fmt: skip
"""What ONNX Runtime raises for a model that it cannot open or run."""


def optimised(model: bytes, saved_as: Literal["ONNX", "ORT"]) -> bytes:
    """The graph as the runtime executes it, in either of its file formats.

    Raises:
        ExportError: ONNX Runtime's CPU kernels, the ones its WebAssembly build has, cannot run it.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    options.add_session_config_entry("session.save_model_format", saved_as)
    # Its default follows the processor that exports.
    options.add_session_config_entry("session.qdqisint8allowed", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised"
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except REFUSALS as error:
            raise ExportError(
                f"ONNX Runtime's CPU kernels cannot run this model: {error}. Phones and browsers "
                "have the same kernels: export another variant, or replace that operator"
            ) from error
        return path.read_bytes()
