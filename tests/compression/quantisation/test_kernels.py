from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression.graphs.inspect import integer_kernels
from compression.graphs.session import open_session
from compression.quantisation import QuantisationOptions
from compression.quantisation.kernels import HIGHEST, grid, rounded_weight
from compression.quantisation.products import prepared, products
from compression.quantisation.qdq import with_integers

RANGES = {"x": (-3.0, 5.0), "m": (-9.0, 9.0)}
WEIGHT = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
BIAS = np.random.default_rng(1).normal(size=8).astype(np.float32)


def _model(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    made = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(WEIGHT, "w"),
            numpy_helper.from_array(BIAS, "b"),
            numpy_helper.from_array(np.array([0.5], np.float32), "half"),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return prepared(model.SerializeToString())


def _node(kind: str, inputs: str, output: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name)


def _run(graph: bytes, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[Any]:
    outputs: list[Any] = open_session(graph).run(None, {"x": x})
    return outputs


def _expected(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The integer product by hand, in float64."""
    scale, zero = grid(*RANGES["x"])
    values = (np.clip(np.rint(x / np.float32(scale)) + zero, 0, HIGHEST) - zero) * scale
    weight, scales = rounded_weight(WEIGHT, per_channel=True, reach=127)
    return np.asarray(values @ (weight * scales.astype(np.float64)))


@pytest.fixture
def x() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(2).normal(size=(4, 3, 8)).astype(np.float32)


@pytest.mark.parametrize("sum_", ["m b", "b m"])
def test_the_kernel_computes_what_the_formula_says_bias_inside(
    sum_: str, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    model = _model(_node("MatMul", "x w", "m", "one"), _node("Add", sum_, "y"))
    graph = with_integers(model, products(model), RANGES, QuantisationOptions())
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert kinds == ["QuantizeLinear", "MatMulIntegerToFloat"]
    np.testing.assert_allclose(_run(graph, x)[0], _expected(x) + BIAS, atol=1e-4)


def test_a_product_that_others_read_too_keeps_its_value(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    model = _model(
        _node("MatMul", "x w", "m", "one"), _node("Add", "m b", "y"), _node("Relu", "m", "z"),
        outputs=("y", "z"),
    )  # fmt: skip
    graph = with_integers(model, products(model), RANGES, QuantisationOptions())
    y, z = _run(graph, x)
    np.testing.assert_allclose(y, _expected(x) + BIAS, atol=1e-4)
    np.testing.assert_allclose(z, np.maximum(_expected(x), 0), atol=1e-4)


def test_one_number_added_to_all_outputs_is_no_bias(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    model = _model(_node("MatMul", "x w", "m", "one"), _node("Add", "m half", "y"))
    graph = with_integers(model, products(model), RANGES, QuantisationOptions())
    np.testing.assert_allclose(_run(graph, x)[0], _expected(x) + 0.5, atol=1e-4)


def test_what_stays_float_reads_its_input_unrounded(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    model = _model(
        _node("MatMul", "x w", "y", "one"), _node("MatMul", "x w", "z", "two"),
        outputs=("y", "z"),
    )  # fmt: skip
    graph = with_integers(model, products(model)[:1], RANGES, QuantisationOptions())
    y, z = _run(graph, x)
    np.testing.assert_allclose(y, _expected(x), atol=1e-4)
    np.testing.assert_allclose(z, x @ WEIGHT, atol=1e-5)


def test_an_input_is_rounded_once_and_a_weight_stored_once(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    model = _model(
        _node("MatMul", "x w", "m", "one"), _node("MatMul", "x w", "n", "two"),
        _node("MatMul", "m w", "o", "three"), _node("Add", "n o", "y"),
    )  # fmt: skip
    graph = with_integers(model, products(model), RANGES, QuantisationOptions())
    assert integer_kernels(graph) == 3
    stored = onnx.load_from_string(graph).graph
    assert sum(node.op_type == "QuantizeLinear" for node in stored.node) == 2
    matrices = [tensor for tensor in stored.initializer if len(tensor.dims) == 2]
    assert [tensor.data_type for tensor in matrices] == [TensorProto.INT8]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (1.0, 3.0), (-3.0, -1.0), (-0.0, 0.0)])
def test_a_grid_spans_its_range_and_has_zero(low: float, high: float) -> None:
    scale, zero = grid(low, high)
    assert 0 <= zero <= HIGHEST
    assert -zero * scale <= min(low, 0) + scale
    assert (HIGHEST - zero) * scale >= max(high, 0) - scale


def test_a_column_of_zeros_stays_zero() -> None:
    weight = np.zeros((3, 2), np.float32)
    weight[:, 1] = [1, -2, 0.5]
    rounded, scales = rounded_weight(weight, per_channel=True, reach=127)
    assert not rounded[:, 0].any()
    assert np.isfinite(scales).all()
    np.testing.assert_allclose(rounded * scales, weight, atol=2 / 127 / 2)
