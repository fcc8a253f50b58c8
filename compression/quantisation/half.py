"""fp16: `fp16` computes in it, for CUDA; `fp16_weights` only stores weights in it, for any CPU.

On a CPU `fp16` is no faster than fp32: there are no fp16 kernels for most operations, the runtime
casts to and fro. `fp16_weights` costs nothing per request: ONNX Runtime casts the weights back when
it opens the file, and from then on the kernels and the memory are those of fp32.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compression.errors import TechniqueError
from compression.graphs.export import tidied
from compression.graphs.inspect import optimised
from compression.quantisation.base import Job, Quantised
from compression.quantisation.check import check_folded, check_half
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import Product, in_order, prepared, products, split
from compression.training.scoring import Report

_HALF, _FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
LARGEST = float(np.finfo(np.float16).max)


class Half:
    """Products and all that follows them in fp16; inputs and outputs stay fp32."""

    name: ClassVar[str] = "fp16"
    options: ClassVar[frozenset[str]] = frozenset({"float_layers"})
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph in fp16, from its first products to those left in float."""
        model = prepared(job.graph)
        meant, floats = split(products(model), options.last_float)
        _check_reach(model, {product.weight for product in meant}, self.name)
        graph = _converted(model, _outside(model, meant))
        check_half(graph, meant)
        casts = sum(node.op_type == "Cast" for node in optimised(graph).node)
        report(1, 1)
        notes = {
            "meant_for": "CUDA",
            "float_layers": [product.name for product in floats],
            "casts_on_cpu": casts,
            "note": f"without a GPU it computes in fp32, with {casts} casts at each call; "
            "fp16_weights has the same size and fp32's kernels",
        }
        return Quantised(graph, "fp16", job.module, notes)


class HalfWeights:
    """Matrices stored as fp16."""

    name: ClassVar[str] = "fp16_weights"
    options: ClassVar[frozenset[str]] = frozenset()
    trains: ClassVar[bool] = False

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The job's graph, its matrices in half the bytes, its kernels the same."""
        model = prepared(job.graph)
        stored = [tensor.name for tensor in model.graph.initializer if _is_matrix(tensor)]
        if not stored:
            raise TechniqueError("quantize (fp16_weights): the graph has no fp32 matrix to store")
        _check_reach(model, set(stored), self.name)
        graph = _stored(model, set(stored))
        check_folded(graph, job.graph)
        report(1, 1)
        notes = {"stored_as_fp16": len(stored), "computes_in": "fp32"}
        return Quantised(graph, "fp16", job.module, notes)


def _is_matrix(tensor: TensorProto) -> bool:
    """Vectors hold few bytes, and standardisation's need their digits."""
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2


def _check_reach(model: onnx.ModelProto, names: set[str], method: str) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in names and np.abs(numpy_helper.to_array(tensor)).max(initial=0) > LARGEST:
            raise TechniqueError(
                f"quantize ({method}): the weight {tensor.name!r} has values over {LARGEST:.0f}, "
                "the largest fp16: rescale that layer, or leave the model in fp32"
            )


def _outside(model: onnx.ModelProto, meant: Sequence[Product]) -> list[str]:
    """Nodes before the fp16 products, and the products left in float with all behind them.

    Raw inputs may be larger than fp16 can hold, so standardisation stays in fp32; and a score that
    was once an fp16 has few distinct values.
    """
    inside = _reached(model, {product.name for product in meant})
    others = {product.name for product in products(model)} - {product.name for product in meant}
    behind = _reached(model, others)
    return [node.name for node in model.graph.node if node.name not in inside - behind]


def _reached(model: onnx.ModelProto, names: set[str]) -> set[str]:
    """Names of these nodes and of all that depend on them."""
    reached, tensors = set(), set[str]()
    for node in model.graph.node:
        if node.name in names or tensors.intersection(node.input):
            reached.add(node.name)
            tensors.update(node.output)
    return reached


def _converted(model: onnx.ModelProto, outside: list[str]) -> bytes:
    path = sys.path[:]
    try:
        # The package puts itself on the path, where its modules hide others of their names.
        from onnxruntime.transformers.float16 import convert_float_to_float16
    finally:
        sys.path[:] = path
    converted: Any = convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)
    return tidied(_without_round_trips(in_order(_each_once(converted))))


def _each_once(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: the converter casts a tensor anew for each of its readers, under one name."""
    nodes = {tuple(node.output): node for node in model.graph.node}
    del model.graph.node[:]
    model.graph.node.extend(nodes.values())
    return model


def _without_round_trips(model: onnx.ModelProto) -> onnx.ModelProto:
    """In place: no fp32 is cast to fp16 and straight back, as the converter does between any two
    nodes that it leaves in fp32."""
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for back in casts.values():
        there = casts.get(back.input[0])
        if there is not None and (_target(there), _target(back)) == (_HALF, _FLOAT):
            back.CopyFrom(helper.make_node("Identity", there.input, back.output, back.name))
    read = {name for node in model.graph.node for name in node.input}
    read.update(value.name for value in model.graph.output)
    kept = [node for node in model.graph.node if read.intersection(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _target(cast: onnx.NodeProto) -> int:
    return next((int(a.i) for a in cast.attribute if a.name == "to"), TensorProto.UNDEFINED)


def _stored(model: onnx.ModelProto, names: set[str]) -> bytes:
    casts, constants = [], []
    for tensor in model.graph.initializer:
        if tensor.name not in names:
            constants.append(tensor)
            continue
        stored = f"{tensor.name}.fp16"
        values = numpy_helper.to_array(tensor).astype(np.float16)
        constants.append(numpy_helper.from_array(values, stored))
        casts.append(
            helper.make_node(
                "Cast", [stored], [tensor.name], f"{stored}.cast", to=TensorProto.FLOAT
            )
        )
    nodes = list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend([*casts, *nodes])
    model.graph.initializer.extend(constants)
    return tidied(model)
