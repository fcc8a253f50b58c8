"""Quantise the MatMul and Gemm of a graph by one of onnxruntime's own quantisers, and check."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from compression.quantisation.base import Job, Precision, Quantised
from compression.quantisation.check import check_integer
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import linear, prepared, with_matmul

Quantiser = Callable[[onnx.ModelProto, list[str], QuantisationOptions], bytes]
"""(model, names of the nodes to quantise, options) → the quantised graph."""


def matmuls(
    job: Job,
    options: QuantisationOptions,
    method: str,
    precision: Precision,
    quantiser: Quantiser,
) -> Quantised:
    """The job's graph with all MatMul and Gemm but the last `float_layers` quantised.

    Raises:
        TechniqueError: there are too few of them, or one stayed in float.
    """
    model = with_matmul(prepared(job.graph))
    chosen, left = linear(model, options.last_float, method)
    graph = quantiser(model, [product.name for product in chosen], options)
    kernels = check_integer(graph, chosen, method)
    notes = {"float_layers": left, "integer_kernels": kernels}
    return Quantised(graph, precision, job.module, notes)
