"""`weight_only`: int8 or int4 weights in blocks, for models that are mostly MatMul.

Each block of a weight's column has its own scale. The kernel quantises a row's activations to int8
by itself, block by block, so nothing is calibrated and a row's score is its own. int4 makes the
smallest files; the fully integer int8 of `static` is faster on a CPU.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import onnx

from compression.graphs.export import tidied
from compression.quantisation.base import Job, Precision, Quantised
from compression.quantisation.matmuls import matmuls
from compression.quantisation.options import QuantisationOptions
from compression.training.scoring import Report

ACCURACY_INT8 = 4
"""onnxruntime's `accuracy_level`: products of int8 activations."""
_PRECISIONS: dict[int, Precision] = {4: "int4", 8: "int8"}


class WeightOnly:
    """MatMulNBits."""

    name: ClassVar[str] = "weight_only"
    options: ClassVar[frozenset[str]] = frozenset({"bits", "block_size", "float_layers"})
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph with all MatMul and Gemm but `float_layers` by weights of few bits."""
        quantised = matmuls(job, options, self.name, _PRECISIONS[options.bits], _quantised)
        report(1, 1)
        return quantised


def _quantised(model: onnx.ModelProto, names: list[str], options: QuantisationOptions) -> bytes:
    others = [node.name for node in model.graph.node if node.name not in names]
    quantizer = _quantizer_class()(
        model,
        bits=options.bits,
        block_size=options.block_size,
        is_symmetric=True,
        accuracy_level=ACCURACY_INT8,
        nodes_to_exclude=others,
    )
    quantizer.process()
    return tidied(quantizer.model.model)


def _quantizer_class() -> Any:
    """Its module sets up the root logger as it is imported, and tells of every node."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from onnxruntime.quantization import matmul_nbits_quantizer

    root.handlers[:] = handlers
    root.setLevel(level)
    matmul_nbits_quantizer.logger.setLevel(logging.WARNING)
    return matmul_nbits_quantizer.MatMulNBitsQuantizer
