from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QDQQuantizer, QuantType

from compression.errors import TechniqueError
from compression.graphs.export import tidied
from compression.graphs.inspect import integer_kernels
from compression.graphs.session import open_session
from compression.quantisation import Job, QuantisationOptions
from compression.quantisation.check import check_integer
from compression.quantisation.products import (
    in_order,
    prepared,
    products,
    split,
    with_matmul,
)
from compression.quantisation.qdq import tensors_data, with_integers
from compression.quantisation.ranges import Range
from tests.compression.quantisation.small import PRODUCTS, held_out, scores


def graph(*nodes: onnx.NodeProto, rank: int = 2, outputs: tuple[str, ...] = ("y",)) -> bytes:
    """x float32[n, (3,) 8], weights w [8, 4] and s [8, 8], vectors b [4] and e [8]."""
    generator = np.random.default_rng(0)
    constants = {"w": (8, 4), "b": (4,), "v": (1, 4), "s": (8, 8), "e": (8,)}
    constants |= {"p": (3, 8, 4)}
    shape: list[str | int | None] = ["n", 8] if rank == 2 else ["n", 3, 8]
    made = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(generator.normal(size=size).astype(np.float32), name)
            for name, size in constants.items()
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    content: bytes = model.SerializeToString()
    return content


def node(kind: str, inputs: str, output: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name)


TWO = (node("MatMul", "x w", "m", "one"), node("Add", "m b", "y"))


def test_products_are_those_by_constant_weights_in_their_order(job: Job, kind: str) -> None:
    found = products(prepared(job.graph))
    assert len(found) == PRODUCTS[kind]
    assert found[0].input == "x"
    assert len({product.name for product in found}) == len(found)


def test_a_product_of_two_activations_is_none() -> None:
    square = graph(node("Transpose", "x", "t"), node("MatMul", "x t", "y"))
    assert products(prepared(square)) == ()


def test_a_product_by_a_stack_of_matrices_is_none() -> None:
    """As attention with a matrix for each head may have it."""
    stacks = graph(node("MatMul", "x p", "y"), rank=3)
    assert products(prepared(stacks)) == ()


def test_products_without_a_name_get_one() -> None:
    (product,) = products(prepared(graph(node("MatMul", "x w", "y"))))
    assert product.name


FALLBACKS = {
    "a flat MatMul and an Add": TWO,
    "a Gemm, a ReLU and a float Gemm": (
        node("Gemm", "x s e", "m", "one"),
        node("Relu", "m", "r"),
        node("Gemm", "r w b", "y", "two"),
    ),
}


@pytest.mark.parametrize("case", FALLBACKS)
def test_what_the_runtime_leaves_in_float_silently_is_integer_here(case: str) -> None:
    """What writing kernels is for, and what the check is for."""
    content = graph(*FALLBACKS[case])
    ranges = {"x": (-4.0, 4.0)}
    model = with_matmul(prepared(content))
    meant = products(model)[:1]
    ours = with_integers(model, meant, ranges, QuantisationOptions())
    assert check_integer(ours, meant, "static") == 1
    inputs = {"x": np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)}
    apart = np.abs(scores(ours, inputs) - scores(content, inputs))
    assert 0 < apart.max() < 0.1
    # As onnxruntime.quantization leaves it: int8 weights in the file, fp32 kernels when it runs.
    theirs = _quantised_by_onnxruntime(content, ranges)
    stored = onnx.load_from_string(theirs).graph.initializer
    assert any(tensor.data_type == TensorProto.INT8 for tensor in stored)
    assert integer_kernels(theirs) == 0
    with pytest.raises(
        TechniqueError,
        match=r"quantize \(static\) meant 1 products .* 0 are; these stayed float: one\.",
    ):
        check_integer(theirs, meant, "static")


def _quantised_by_onnxruntime(content: bytes, ranges: dict[str, Range]) -> bytes:
    quantizer = QDQQuantizer(
        prepared(content),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=tensors_data(ranges),
        nodes_to_quantize=["one"],
        nodes_to_exclude=[],
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    quantizer.quantize_model()
    return tidied(in_order(quantizer.model.model))


def test_a_weight_that_two_gemms_share_is_transposed_once() -> None:
    both = (
        helper.make_node("Gemm", ["x", "s"], ["m"], "one", transB=1),
        helper.make_node("Gemm", ["m", "s", "e"], ["y"], "two", transB=1),
    )
    content = graph(*both)
    model = with_matmul(prepared(content))
    assert [n.op_type for n in model.graph.node] == ["MatMul", "MatMul", "Add"]
    assert [product.name for product in products(model)] == ["one", "two"]
    _same(content, model)


@pytest.mark.parametrize("form", [{"transA": 1}, {"alpha": 0.5}, {"beta": 2.0}])
def test_a_gemm_of_another_form_is_no_product(form: dict[str, Any]) -> None:
    content = graph(helper.make_node("Gemm", ["x", "w", "b"], ["y"], "one", **form))
    model = with_matmul(onnx.load_from_string(content))
    assert products(model) == ()
    assert [n.op_type for n in model.graph.node] == ["Gemm"]


def _same(content: bytes, model: onnx.ModelProto) -> None:
    inputs = {"x": np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)}
    names = [value.name for value in model.graph.output]
    sessions = (open_session(content), open_session(model.SerializeToString()))
    for expected, given in zip(*(s.run(names, inputs) for s in sessions), strict=True):
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_every_gemm_becomes_a_matmul(jobs: dict[str, Job]) -> None:
    job = jobs["flat"]
    model = with_matmul(prepared(job.graph))
    assert {product.op_type for product in products(model)} == {"MatMul"}
    inputs = held_out(job, 50)
    np.testing.assert_allclose(
        scores(model.SerializeToString(), inputs), scores(job.graph, inputs), atol=1e-5
    )


@pytest.mark.parametrize(("last", "left"), [(0, 3), (1, 2), (3, 0), (9, 0)])
def test_the_last_ones_are_split_off(jobs: dict[str, Job], last: int, left: int) -> None:
    found = products(prepared(jobs["flat"].graph))
    chosen, floats = split(found, last)
    assert len(chosen) == left
    assert (*chosen, *floats) == found
