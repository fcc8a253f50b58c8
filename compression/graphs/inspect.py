"""What is in an ONNX graph: FLOPs, integer kernels."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

INTEGER_KERNELS = frozenset(
    {
        "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm",
        "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM", "MatMulNBits",
    }
)  # fmt: skip


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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(path).graph
    return sum(node.op_type in INTEGER_KERNELS for node in graph.node)
