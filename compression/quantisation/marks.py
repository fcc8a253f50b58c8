"""What a fake-quantised module tells when it is exported: its grids, as pairs in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from compression.graphs.export import tidied
from compression.quantisation.kernels import HIGHEST
from compression.quantisation.ranges import Range


@dataclass(frozen=True)
class Marks:
    """Read from the QuantizeLinear/DequantizeLinear pairs of an exported module."""

    graph: bytes
    """The float graph, without them."""
    ranges: dict[str, Range]
    """By tensor. Where several layers read one, each has a range for it: the widest counts."""
    readers: frozenset[str]
    """Names of the nodes that read through a pair: the products of quantised layers."""


def without_marks(model: onnx.ModelProto) -> Marks:
    """Take the pairs out of a graph; `model` is changed."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    marks = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    ranges: dict[str, Range] = {}
    sources: dict[str, str] = {}
    readers: set[str] = set()
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in marks:
            tensor, scale, zero = marks[node.input[0]].input[:3]
            reach = _reach(float(constants[scale]), int(constants[zero]))
            ranges[tensor] = _widest(reach, ranges.get(tensor, reach))
            sources[node.output[0]] = tensor
        elif node.op_type != "QuantizeLinear":
            if sources.keys() & set(node.input):
                readers.add(node.name)
            _rename(node, sources)
            kept.append(node)
    used = {name for node in kept for name in node.input}
    stored = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(stored)
    return Marks(tidied(model), ranges, frozenset(readers))


def _reach(scale: float, zero: int) -> Range:
    """The range of a grid."""
    return -zero * scale, (HIGHEST - zero) * scale


def _widest(one: Range, other: Range) -> Range:
    return min(one[0], other[0]), max(one[1], other[1])


def _rename(node: onnx.NodeProto, sources: Mapping[str, str]) -> None:
    for index, name in enumerate(node.input):
        node.input[index] = sources.get(name, name)
