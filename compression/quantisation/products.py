"""The products of a graph: what quantisation makes integer, and forms the runtime can fuse.

A product is a MatMul, Gemm or Conv by a constant weight. Attention's products of two activations
are not among them: they hold few of the operations, and were slower and less exact in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper, numpy_helper, shape_inference
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from compression.errors import TechniqueError

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
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return tuple(
        Product(node.name, node.op_type, node.input[0], node.input[1], node.output[0])
        for node in model.graph.node
        if _is_product(node, constants)
    )


def _is_product(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """A Gemm of another form than a Linear's, x·W + b or x·Wᵀ + b, is none; nor is a MatMul by a
    stack of matrices, which is more than the runtime's integer product takes."""
    if node.op_type not in PRODUCT_OPS or node.input[1] not in constants:
        return False
    if node.op_type == "MatMul" and len(constants[node.input[1]].dims) != 2:
        return False
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    given = _attributes(node)
    return node.op_type != "Gemm" or all(given.get(k, v) == v for k, v in plain.items())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


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


def with_matmul(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: a Gemm that is a product becomes MatMul, of the same name, and Add.

    onnxruntime's own rewriting transposes a weight that two Gemms share twice.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Gemm" or not _is_product(node, constants):
            nodes.append(node)
            continue
        values, weight, output = node.input[0], node.input[1], node.output[0]
        if _attributes(node).get("transB"):
            weight = f"{weight}.transposed"
            if weight not in constants:
                transposed = numpy_helper.to_array(constants[node.input[1]]).T
                constants[weight] = numpy_helper.from_array(transposed.copy(), weight)
                model.graph.initializer.append(constants[weight])
        biased = len(node.input) > 2
        product = f"{output}.product" if biased else output
        nodes.append(helper.make_node("MatMul", [values, weight], [product], node.name))
        if biased:
            add = helper.make_node("Add", [product, node.input[2]], [output], f"{node.name}.bias")
            nodes.append(add)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return without_unread(model)


def without_unread(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: constants that nothing reads are gone."""
    read = {name for node in model.graph.node for name in node.input}
    read.update(value.name for value in model.graph.output)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
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


def linear(
    model: onnx.ModelProto, float_layers: int, method: str
) -> tuple[tuple[Product, ...], list[str]]:
    """MatMuls but for the last `float_layers` products, and the names of all products left out.

    For methods that cannot make a Conv integer.

    Raises:
        TechniqueError: that leaves none.
    """
    found = products(model)
    chosen = tuple(one for one in split(found, float_layers)[0] if one.op_type == "MatMul")
    left = [product.name for product in found if product not in chosen]
    if not chosen:
        raise TechniqueError(
            f"quantize ({method}) needs a MatMul or Gemm by a constant weight; of {len(found)} "
            f"products {float_layers} are left in float (float_layers), and a Conv it leaves as "
            "well: use static for a model of convolutions"
        )
    return chosen, left
