from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression.errors import TechniqueError
from compression.quantisation import Job, check
from compression.quantisation.check import check_folded, check_half, check_integer
from compression.quantisation.half import HalfWeights
from compression.quantisation.products import prepared, products
from compression.quantisation.static import Static
from tests.compression.quantisation.small import quantised


def test_a_float_graph_is_no_int8(job: Job) -> None:
    meant = products(prepared(job.graph))
    names = ", ".join(product.name for product in meant)
    with pytest.raises(TechniqueError, match=f"0 are; these stayed float: {names}"):
        check_integer(job.graph, meant, "static")


def test_one_product_that_stayed_float_is_named(jobs: dict[str, Job]) -> None:
    graph = quantised(Static(), jobs["tokens"], float_layers=2).graph
    meant = products(prepared(jobs["tokens"].graph))
    assert check_integer(graph, meant[:1], "static") == 1
    with pytest.raises(TechniqueError, match=rf"1 are; these stayed float: {meant[1].name}\."):
        check_integer(graph, meant[:2], "static")


def test_nothing_meant_is_no_int8(jobs: dict[str, Job]) -> None:
    with pytest.raises(TechniqueError, match=r"left no integer kernel.*float_layers keeps all"):
        check_integer(jobs["flat"].graph, (), "dynamic")


def test_a_cast_left_on_a_weight_is_an_error(
    jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a runtime that does not fold constants."""
    graph = quantised(HalfWeights(), jobs["tokens"]).graph
    check_folded(graph, jobs["tokens"].graph)
    monkeypatch.setattr(check, "optimised", lambda content: onnx.load_from_string(content).graph)
    with pytest.raises(TechniqueError, match=r"at every request instead of once: \S+\.fp16"):
        check_folded(graph, jobs["tokens"].graph)


def test_other_kernels_than_fp32_s_are_an_error(jobs: dict[str, Job]) -> None:
    with pytest.raises(TechniqueError, match="kernels are not those of fp32"):
        check_folded(jobs["tokens"].graph, jobs["flat"].graph)


def test_an_fp32_weight_is_no_fp16(jobs: dict[str, Job]) -> None:
    meant = products(prepared(jobs["flat"].graph))
    with pytest.raises(TechniqueError, match=f"have no fp16 weight: {meant[0].name}"):
        check_half(jobs["flat"].graph, meant)
    with pytest.raises(TechniqueError, match="no product by a constant weight"):
        check_half(jobs["flat"].graph, ())


def test_a_graph_of_no_products_cannot_be_int8() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(TechniqueError, match="no MatMul, Gemm or Conv by a constant weight"):
        check_integer(model.SerializeToString(), products(model), "static")
