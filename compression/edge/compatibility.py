"""What onnxruntime-web's WebAssembly build runs, and what of a graph it would refuse.

Everything here was tried in Node with the version named: the ranges end where loading fails, and
each contrib operator is loaded and run by the tests. ONNX's own operators need no list: of the
1,729 models of ONNX's own operator tests (`onnx.backend.test.case.node`, opset 26 at most) that
ONNX Runtime's CPU kernels open, the WebAssembly build refuses none for its operator's sake but int8
`Where`. So opening the graph with those kernels (`compression.edge.optimiser`) checks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import TensorProto

from compression.edge.javascript import JAVASCRIPT_TYPES
from compression.errors import ExportError
from compression.store.manifest import TensorSpec

WEB_VERSION = "1.30.0"
TARGET = f"onnxruntime-web {WEB_VERSION} (WebAssembly)"
"""What is checked against."""

IR_VERSIONS = range(3, 14)
OPSETS: Mapping[str, range] = {
    "": range(7, 27),
    "ai.onnx.ml": range(1, 6),
    "com.microsoft": range(1, 2),
}
"""Operator sets by domain; "" is ONNX's own."""

CONTRIB = frozenset(
    {
        "BiasGelu", "DequantizeLinear", "DynamicQuantizeMatMul", "FastGelu", "FusedGemm",
        "FusedMatMul", "Gelu", "MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QLinearAdd",
        "QLinearConcat", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax",
        "QuantizeLinear", "QuickGelu", "SkipLayerNormalization",
    }
)  # fmt: skip
"""Operators of `com.microsoft`, which ONNX Runtime puts in when it optimises or quantises."""

ELEMENT_TYPES = frozenset(
    {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL,
        TensorProto.INT4, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32,
        TensorProto.INT64, TensorProto.UINT4, TensorProto.UINT8, TensorProto.UINT16,
        TensorProto.UINT32, TensorProto.UINT64,
    }
)  # fmt: skip
"""Inside the graph. float16 runs, in float32 behind casts; bfloat16 and float8 have no kernels."""


def require_runnable(model: onnx.ModelProto, tensors: Sequence[TensorSpec]) -> None:
    """Check a graph, and the inputs and outputs (`tensors`) that JavaScript hands over.

    Raises:
        ExportError: names every node and tensor that the target would refuse, and what to do.
    """
    problems = [
        *_versions(model),
        *_tensors(tensors),
        *(problem for name, tensor in _stored(model) for problem in _content(name, tensor)),
        *(problem for node in _nodes(model) for problem in _node(node, model)),
    ]
    if problems:
        raise ExportError(f"{TARGET} cannot run this model: " + "; ".join(problems))


def _versions(model: onnx.ModelProto) -> Iterator[str]:
    if model.ir_version not in IR_VERSIONS:
        yield (
            f"its IR version is {model.ir_version}, allowed are {_range(IR_VERSIONS)}: save it "
            "with `ir_version` set to one of these"
        )
    for opset in model.opset_import:
        allowed = OPSETS.get(_domain(opset.domain))
        if allowed is not None and opset.version not in allowed:
            yield (
                f"opset {opset.version} of {_domain(opset.domain) or 'ai.onnx'}, allowed are "
                f"{_range(allowed)}: export the model with one of these, or convert it with "
                "onnx.version_converter"
            )


def _tensors(tensors: Sequence[TensorSpec]) -> Iterator[str]:
    for spec in tensors:
        if spec.datatype not in JAVASCRIPT_TYPES:
            yield (
                f"{spec.name!r} is {spec.datatype}, which JavaScript hands over only as "
                f"{', '.join(JAVASCRIPT_TYPES)}: cast it inside the graph"
            )
        if any(size < 0 for size in spec.shape[1:]):
            yield (
                f"{spec.name!r} has the shape {list(spec.shape)}, and with a variable dimension "
                "beside the batch its memory has no bound: fix it"
            )


def _content(name: str, tensor: onnx.TensorProto) -> Iterator[str]:
    if tensor.data_location == TensorProto.EXTERNAL:
        yield f"weight {name!r} lies in another file: save the model with its weights inside"
    if tensor.data_type not in ELEMENT_TYPES:
        yield (
            f"weight {name!r} is {_type(tensor.data_type)}, which has no kernels there: "
            "export an fp32 or int8 variant"
        )


def _node(node: onnx.NodeProto, model: onnx.ModelProto) -> Iterator[str]:
    domain, where = _domain(node.domain), f"node {node.name!r} ({node.op_type})"
    local = {(function.domain, function.name) for function in model.functions}
    if domain not in OPSETS and (node.domain, node.op_type) not in local:
        yield f"{where} is of the domain {domain!r}: replace it by operators of ONNX"
    if domain == "com.microsoft" and node.op_type not in CONTRIB:
        yield (
            f"{where} is of com.microsoft and was not tried there: replace it by operators of "
            "ONNX, or export as onnx, which leaves such fusions to the runtime"
        )
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            yield (
                f"{where} runs another graph, as often as the data says, so its memory has no "
                "bound: unroll it"
            )
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i not in ELEMENT_TYPES:
            yield (
                f"{where} casts to {_type(attribute.i)}, which has no kernels there: "
                "export an fp32 or int8 variant"
            )


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _stored(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0], attribute.t


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _range(allowed: range) -> str:
    return f"{allowed[0]} to {allowed[-1]}"


def _type(element: int) -> str:
    return str(TensorProto.DataType.Name(element)).lower()
