"""Integer products of linear layers, written into the graph as the runtime's own operator.

onnxruntime makes a MatMulIntegerToFloat of a MatMul between DequantizeLinears when it opens a file,
if nothing else comes first. For a MatMul of two dimensions something does: it fuses product and
bias, or product, bias and activation, into one float operator, finds no product that it could make
integer, and says nothing. Written into the file none of that can happen; and the bias, which the
runtime leaves outside, is inside: that made the fraud transformer an eighth faster.

Activations are uint8 with a zero point, weights int8 and symmetric, which is what x86 multiplies
fastest. The outputs are float: products are added up in 32 bits anyway, so rounding them to 8 would
cost time and exactness. What stays float reads its inputs unrounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import Product
from compression.quantisation.ranges import Range

DOMAIN, KERNEL = "com.microsoft", "MatMulIntegerToFloat"
HIGHEST = 255
"""The largest uint8."""


def grid(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of the uint8 grid over a range; zero is on it."""
    low, high = min(0.0, low), max(0.0, high)
    scale = float(np.float32((high - low) / HIGHEST)) or 1.0
    return scale, min(HIGHEST, round(-low / scale))


def rounded_weight(
    weight: npt.NDArray[np.float32], *, per_channel: bool, reach: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8[in, out] on symmetric grids up to ±reach, and the scales float32[out]."""
    largest = np.abs(weight).max(axis=0)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    scales = np.where(largest > 0, largest / reach, 1.0).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales


class KernelWriter:
    """Turns MatMuls of a model into integer products, in place."""

    def __init__(
        self, model: onnx.ModelProto, ranges: Mapping[str, Range], options: QuantisationOptions
    ) -> None:
        self._graph, self._ranges, self._options = model.graph, ranges, options
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: dict[str, onnx.NodeProto] = {}
        """New nodes by what they give."""
        if all(opset.domain != DOMAIN for opset in model.opset_import):
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))

    def write(self, products: Sequence[Product]) -> None:
        """Replace these MatMuls and the constant biases added to them."""
        biases = self._biases()
        gone: set[str] = set()
        for product in products:
            width = self._constants[product.weight].dims[1]
            output, bias = biases.get((product.output, width), (product.output, None))
            inputs = [*self._activation(product.input), *self._weight(product.weight)]
            # values, weight, their scales, their zero points
            ordered = [inputs[0], inputs[3], inputs[1], inputs[4], inputs[2], inputs[5]]
            ordered += [] if bias is None else [bias]
            kernel = helper.make_node(KERNEL, ordered, [output], product.name, domain=DOMAIN)
            gone.update((product.output, output))
            self._nodes[output] = kernel
        kept = [node for node in self._graph.node if node.output[0] not in gone]
        del self._graph.node[:]
        self._graph.node.extend([*kept, *self._nodes.values()])

    def _biases(self) -> dict[tuple[str, int], tuple[str, str]]:
        """By a product's output and width: its sum with a vector of that width, and the vector."""
        readers = Counter(name for node in self._graph.node for name in node.input)
        readers.update(value.name for value in self._graph.output)
        found: dict[tuple[str, int], tuple[str, str]] = {}
        for node in self._graph.node:
            if node.op_type != "Add":
                continue
            for product, bias in (tuple(node.input), tuple(reversed(node.input))):
                constant = self._constants.get(bias)
                if constant is not None and len(constant.dims) == 1 and readers[product] == 1:
                    found[product, constant.dims[0]] = (node.output[0], bias)
        return found

    def _activation(self, tensor: str) -> tuple[str, str, str]:
        """Names of the rounded values, their scale and their zero point."""
        names = (f"{tensor}.uint8", f"{tensor}.scale", f"{tensor}.zero")
        if names[0] not in self._nodes:
            scale, zero = grid(*self._ranges[tensor])
            self._constant(np.array(scale, np.float32), names[1])
            self._constant(np.array(zero, np.uint8), names[2])
            inputs = [tensor, *names[1:]]
            self._nodes[names[0]] = helper.make_node("QuantizeLinear", inputs, names[:1], names[0])
        return names

    def _weight(self, tensor: str) -> tuple[str, str, str]:
        """Names of the rounded weight, its scales and its zero points."""
        names = (f"{tensor}.int8", f"{tensor}.scales", f"{tensor}.zeros")
        if names[0] not in self._constants:
            weight = numpy_helper.to_array(self._constants[tensor])
            rounded, scales = rounded_weight(
                weight, per_channel=self._options.per_channel, reach=self._options.reach
            )
            self._constant(rounded, names[0])
            self._constant(scales, names[1])
            self._constant(np.zeros_like(scales, np.int8), names[2])
        return names

    def _constant(self, array: npt.NDArray[np.generic], name: str) -> None:
        self._constants[name] = numpy_helper.from_array(array, name)
        self._graph.initializer.append(self._constants[name])
