"""`dynamic`: int8 with each activation's range measured as it runs, over the whole batch.

A row's score depends on the rows beside it (by up to 0.1 in the fraud workload, batches of 1
against 125): `static` is the safer choice for decisions. Nothing needs to be calibrated. A Conv
stays in float: its dynamic integer kernel took four times as long as the float one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from compression.graphs.export import tidied
from compression.quantisation.base import Job, Quantised
from compression.quantisation.matmuls import matmuls
from compression.quantisation.options import QuantisationOptions
from compression.training.scoring import Report


class Dynamic:
    """Ranges measured at run time."""

    name: ClassVar[str] = "dynamic"
    options: ClassVar[frozenset[str]] = frozenset({"per_channel", "reduce_range", "float_layers"})
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph with all MatMul and Gemm but `float_layers` in int8."""
        quantised = matmuls(job, options, self.name, "int8", _quantised)
        report(1, 1)
        return quantised


def _quantised(model: onnx.ModelProto, names: list[str], options: QuantisationOptions) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target.onnx"
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=names,
            per_channel=options.per_channel,
            reduce_range=options.reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return tidied(onnx.load(target))
