"""What is in an ONNX graph: FLOPs, integer kernels."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto

WEIGHTS = frozenset(
    {
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16,
        TensorProto.INT8, TensorProto.UINT8,
    }
)  # fmt: skip
"""Datatypes of constants that are weights; others are shapes and indices."""
INTEGER_KERNELS = frozenset(
    {
        "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm",
        "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM", "MatMulNBits",
    }
)  # fmt: skip


TREES = "ai.onnx.ml"
"""Domain of operators that are no matrix products: trees, encoders."""
UNTRAINED = "hitrates"
"""End of the names of tree attributes that say how often a node was passed in training."""


def graph_parameters(model: bytes) -> int:
    """Trained numbers of a graph: real constants, and real attributes of trees and linear models.

    Of a tree ensemble those are the thresholds and the leaves' values, not the indices that link
    its nodes.
    """
    graph = onnx.load_from_string(model).graph
    constants = [*graph.initializer]
    numbers = 0
    for node in graph.node:
        for attribute in node.attribute:
            if not attribute.name.endswith(UNTRAINED):
                numbers += len(attribute.floats)
                constants += [attribute.t] if attribute.HasField("t") else []
    weights = (int(math.prod(t.dims)) for t in constants if t.data_type in WEIGHTS)
    return int(numbers + sum(weights))


def countable_flops(model: bytes) -> int | None:
    """`flops_per_row`, of a graph from elsewhere; None where that says nothing.

    Trees compare and do not multiply, and shapes that cannot be inferred cannot be counted.
    """
    if any(node.domain == TREES for node in onnx.load_from_string(model).graph.node):
        return None
    try:
        return flops_per_row(model)
    except (KeyError, IndexError):
        return None


def flops_per_row(model: bytes) -> int:
    """Multiply-adds counted as two, of MatMul, Gemm and Conv nodes at a batch of one."""
    proto = onnx.load_from_string(model)
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return sum(_node_flops(node, shapes) for node in graph.node)


def _node_flops(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type not in {"MatMul", "Gemm", "Conv"}:
        return 0
    out, weight = shapes[node.output[0]], shapes[node.input[1]]
    elements = math.prod(max(1, size) for size in out)
    if node.op_type == "Conv":
        return 2 * elements * math.prod(weight[1:])
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    inner = weight[-1] if transposed else weight[-2]
    return 2 * elements * inner


def integer_kernels(model: bytes) -> int:
    """Integer kernels left after ONNX Runtime's own optimisation on this machine."""
    return sum(node.op_type in INTEGER_KERNELS for node in optimised(model).node)


def optimised(model: bytes) -> onnx.GraphProto:
    """What ONNX Runtime runs on this machine's CPU: the graph after its own optimisation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return onnx.load(path).graph
