from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compression.graphs.export import to_onnx
from compression.graphs.inspect import flops_per_row, integer_kernels
from compression.models.scorer import Scorer
from compression.models.transformer import Attention
from tests.support.store import make_onnx


class SelfAttention(nn.Module):
    """All tokens attend to all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[n, t, width] → the same shape."""
        attended: Tensor = self.attention(tokens, tokens)
        return attended


def test_flops_of_a_linear_layer_are_those_of_one_row() -> None:
    graph = to_onnx(Scorer(nn.Linear(7, 5)), {"x": np.zeros((3, 7), np.float32)}, "y")
    assert flops_per_row(graph) == 2 * 7 * 5


@pytest.mark.parametrize(("tokens", "width", "heads"), [(9, 8, 2)])
def test_flops_of_an_attention_block(tokens: int, width: int, heads: int) -> None:
    example = {"tokens": np.zeros((3, tokens, width), np.float32)}
    graph = to_onnx(Scorer(SelfAttention(width, heads)), example, "y")
    projections = 4 * 2 * tokens * width * width
    products = 2 * 2 * heads * tokens * tokens * (width // heads)
    assert flops_per_row(graph) == projections + products


def test_flops_of_a_transformer(tiny_graph: bytes) -> None:
    """Two layers, the second reads out the last token only."""
    width, hidden, past, tokens = 16, 32, 8, 9
    embedding = past * 7 * width + 20 * width
    one = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    readout = 2 * tokens * width**2 + 2 * width**2 + 2 * width * hidden + 2 * tokens * width
    assert flops_per_row(tiny_graph) == 2 * (embedding + one + readout + width)


def test_flops_of_a_convolution() -> None:
    weight = numpy_helper.from_array(np.zeros((6, 3, 5), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6, 8])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert flops_per_row(model.SerializeToString()) == 2 * (6 * 8) * (3 * 5)


def test_a_float_graph_has_no_integer_kernels(tiny_graph: bytes) -> None:
    assert integer_kernels(tiny_graph) == 0
    assert integer_kernels(make_onnx()) == 0


def test_an_integer_product_counts_even_if_the_runtime_fuses_it() -> None:
    weight = numpy_helper.from_array(np.ones((4, 2), np.int8), "w")
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "scale")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "scale"], ["both"]),
        helper.make_node("Mul", ["f", "both"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "integer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weight, scale],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    assert integer_kernels(model.SerializeToString()) == 1
