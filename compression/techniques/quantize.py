"""`quantize`: int8 weights and activations, after training.

`dynamic` measures each activation's range as it runs, over the whole batch: a row's score then
depends on the rows beside it (by up to 0.1 in the fraud workload, batches of 1 against 125).
`static` fixes the ranges on a calibration set: a row's score is its own, which is what a decision
needs. The shipped recipes use it, though `dynamic` was a fifth faster.
Only MatMul and Gemm become integer, the last of them and the sigmoid stay float: scores need
more than 256 steps, or ties break rankings and thresholds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from pydantic import Field

from compression.errors import TechniqueError
from compression.graphs.export import tidied
from compression.graphs.inspect import integer_kernels
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.training.scoring import Report

QUANTIZED_OPS = ["MatMul", "Gemm"]


class QuantizeOptions(Options):
    """How to quantise. Calibration options count for `static` only."""

    method: Literal["dynamic", "static"] = "dynamic"
    per_channel: bool = True
    reduce_range: bool = False
    """7-bit weights, for CPUs without VNNI, where 8-bit products overflow."""
    calibration_rows: int = Field(default=512, ge=1)
    """Drawn from the training window."""


class CalibrationRows(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration set to onnxruntime, a few rows at a time."""

    def __init__(self, context: Context, rows: int, chunk_rows: int = 32) -> None:
        self._batches = self._read(context, rows, chunk_rows)

    @staticmethod
    def _read(context: Context, rows: int, chunk_rows: int) -> Iterator[dict[str, Any]]:
        train = context.workload.train
        generator = np.random.default_rng(context.seed)
        chosen = generator.choice(train, min(rows, len(train)), replace=False)
        for start in range(0, len(chosen), chunk_rows):
            yield dict(context.workload.gather(chosen[start : start + chunk_rows]))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch of inputs by name, None at the end."""
        return next(self._batches, None)


class Quantize:
    """Post-training int8 by ONNX Runtime's quantiser, checked to be integer in the end."""

    name: ClassVar[str] = "quantize"
    family: ClassVar[Family | None] = "quantized"
    options: ClassVar[type[Options]] = QuantizeOptions
    ends_in_graph: ClassVar[bool] = True

    def apply(
        self, candidate: Candidate, options: QuantizeOptions, context: Context, report: Report
    ) -> Candidate:
        """The candidate with an int8 graph.

        Raises:
            TechniqueError: after optimisation no integer kernel is left in the graph.
        """
        started = time.perf_counter()
        graph = self._quantised(context.float_graph(candidate.module), options, context)
        kernels = integer_kernels(graph)
        if kernels == 0:
            raise TechniqueError(
                f"quantize ({options.method}) left no integer kernel in the graph: the model has "
                f"no {' or '.join(QUANTIZED_OPS)} with constant weights, or this build of ONNX "
                "Runtime cannot fuse it"
            )
        report(1, 1)
        notes = {"method": options.method, "integer_kernels": kernels}
        return replace(candidate, onnx=graph, precision="int8").noted(
            notes, time.perf_counter() - started
        )

    def _quantised(self, graph: bytes, options: QuantizeOptions, context: Context) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, target = (
                Path(folder) / name for name in ("source.onnx", "prepared.onnx", "target.onnx")
            )
            source.write_bytes(graph)
            # The symbolic shape inference broke transformers' shapes, the optimiser hides weights.
            quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
            _METHODS[options.method](prepared, target, options, context)
            return tidied(onnx.load(target))


def _shared(prepared: Path, options: QuantizeOptions) -> dict[str, Any]:
    graph = onnx.load(prepared).graph
    products = [node for node in graph.node if node.op_type in QUANTIZED_OPS]
    # A stack of matrices per channel is more than ONNX Runtime's integer product takes.
    stacks = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 2}
    stacked = [node.name for node in products if stacks & set(node.input)]
    return {
        "op_types_to_quantize": QUANTIZED_OPS,
        "nodes_to_exclude": [*stacked, products[-1].name] if products else [],
        "per_channel": options.per_channel,
        "reduce_range": options.reduce_range,
        "weight_type": QuantType.QInt8,
    }


def _dynamic(prepared: Path, target: Path, options: QuantizeOptions, context: Context) -> None:
    quantize_dynamic(
        prepared,
        target,
        extra_options={"MatMulConstBOnly": True},
        **_shared(prepared, options),
    )


def _static(prepared: Path, target: Path, options: QuantizeOptions, context: Context) -> None:
    quantize_static(
        prepared,
        target,
        CalibrationRows(context, options.calibration_rows),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        extra_options={"MatMulConstBOnly": True},
        **_shared(prepared, options),
    )


_METHODS: dict[str, Callable[[Path, Path, QuantizeOptions, Context], None]] = {
    "dynamic": _dynamic,
    "static": _static,
}
