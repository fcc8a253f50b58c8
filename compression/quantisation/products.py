"""The products of a graph: what quantisation makes integer, and forms the runtime can fuse.

A product is a MatMul, Gemm or Conv by a constant weight. Attention's products of two activations
are not among them: they hold few of the operations, and stayed slower and less exact in integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper, shape_inference
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

PRODUCT_OPS = ("MatMul", "Gemm", "Conv")


@dataclass(frozen=True)
class Product:
    """One of them: its node's name and operator, its activation input, weight and output."""

    name: str
    op_type: str
    input: str
    weight: str
    output: str


def products(model: onnx.ModelProto) -> tuple[Product, ...]:
    """All products, in the order in which they run."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        Product(node.name, node.op_type, node.input[0], node.input[1], node.output[0])
        for node in model.graph.node
        if node.op_type in PRODUCT_OPS and node.input[1] in constants
    )


def prepared(graph: bytes) -> onnx.ModelProto:
    """A copy for onnxruntime's quantisers: shapes inferred, every product named.

    By onnx's own shape inference: onnxruntime's symbolic one broke transformers' shapes, and its
    optimiser hides weights.
    """
    model = shape_inference.infer_shapes(onnx.load_from_string(graph))
    add_pre_process_metadata(model)  # or the quantisers warn that shapes are missing
    for index, node in enumerate(model.graph.node):
        if node.op_type in PRODUCT_OPS and not node.name:
            node.name = f"product_{index}"
    return model


def with_gemm(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: a MatMul of two dimensions and the Add of its constant bias become one Gemm.

    onnxruntime does the same before it looks for integer products, but leaves the bias float, and
    then finds none: the product would silently stay in float.
    """
    flat = _flat_products(model)
    kept: list[onnx.NodeProto] = []
    places: dict[str, int] = {}
    for node in model.graph.node:
        summand = _summand(node, flat, model)
        if summand is None:
            places.update(dict.fromkeys(node.output, len(kept)))
            kept.append(node)
        else:
            matmul, bias = summand
            gemm = helper.make_node("Gemm", [*matmul.input, bias], node.output, matmul.name)
            kept[places[matmul.output[0]]] = gemm
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _flat_products(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """MatMuls of two dimensions by a constant, read by one node, by their output."""
    graph = model.graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    by_constant = {product.name for product in products(model) if product.op_type == "MatMul"}
    return {
        node.output[0]: node
        for node in graph.node
        if node.name in by_constant
        and ranks.get(node.input[0]) == 2
        and readers[node.output[0]] == 1
    }


def _summand(
    node: onnx.NodeProto, flat: dict[str, onnx.NodeProto], model: onnx.ModelProto
) -> tuple[onnx.NodeProto, str] | None:
    """The product that a node adds a constant vector to, and that vector's name."""
    if node.op_type != "Add":
        return None
    vectors = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 1}
    for product, bias in (node.input, reversed(node.input)):
        if product in flat and bias in vectors:
            return flat[product], bias
    return None


def with_matmul(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: a Gemm becomes MatMul and Add, for quantisers that know MatMul alone."""
    ONNXModel(model).replace_gemm_with_matmul()
    return model


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: nodes sorted so that each comes after what it reads."""
    ONNXModel(model).topological_sort()
    return model


def split(
    found: Sequence[Product], float_layers: int
) -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """(all but the last `float_layers`, the last)."""
    count = max(0, len(found) - float_layers)
    return tuple(found[:count]), tuple(found[count:])
