from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from compression.errors import DataError, TechniqueError
from compression.graphs.inspect import integer_kernels, optimised
from compression.quantisation import Job, Quantised
from compression.quantisation.static import Static
from tests.compression.quantisation.small import PRODUCTS, held_out, quantised, scores


@pytest.fixture(scope="module")
def made(jobs: dict[str, Job]) -> dict[str, Quantised]:
    return {kind: quantised(Static(), job) for kind, job in jobs.items()}


def _constants(graph: bytes, datatype: int) -> dict[str, np.ndarray[Any, Any]]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(graph).graph.initializer
        if tensor.data_type == datatype
    }


def test_all_products_but_the_last_have_integer_kernels(
    job: Job, kind: str, made: dict[str, Quantised]
) -> None:
    static = made[kind]
    assert static.precision == "int8"
    assert static.module is job.module
    assert integer_kernels(static.graph) == PRODUCTS[kind] - 1
    assert static.notes["integer_kernels"] == PRODUCTS[kind] - 1
    assert len(static.notes["float_layers"]) == 1
    assert (static.notes["calibration"], static.notes["calibration_rows"]) == ("train", 512)


def test_scores_are_near_the_float_ones_and_distinct(
    job: Job, kind: str, made: dict[str, Quantised]
) -> None:
    inputs = held_out(job)
    exact, rough = scores(job.graph, inputs), scores(made[kind].graph, inputs)
    assert np.abs(rough - exact).mean() < 0.03
    assert np.corrcoef(rough, exact)[0, 1] > 0.99
    assert not np.array_equal(rough, exact)
    assert len(np.unique(rough)) >= 0.5 * len(np.unique(exact))


def test_a_row_s_score_is_its_own(job: Job, kind: str, made: dict[str, Quantised]) -> None:
    x = held_out(job, 40)["x"]
    together = scores(made[kind].graph, {"x": x})
    alone = [scores(made[kind].graph, {"x": x[row : row + 1]})[0] for row in range(len(x))]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_convolutions_are_integer_from_end_to_end(made: dict[str, Quantised]) -> None:
    """Rectifiers go into the ranges: between two convolutions nothing is float."""
    ran = [node.op_type for node in optimised(made["images"].graph).node]
    convolutions = [index for index, kind in enumerate(ran) if kind == "QLinearConv"]
    assert len(convolutions) == 2
    assert set(ran[convolutions[0] : convolutions[1]]) <= {"QLinearConv", "Transpose"}
    assert not {"Conv", "Clip"} & set(ran)


def test_outputs_of_linear_layers_are_not_rounded(made: dict[str, Quantised]) -> None:
    """And their biases are in the kernel: no Add is left but the last layer's."""
    ran = [node.op_type for node in optimised(made["tokens"].graph).node]
    assert ran.count("MatMulIntegerToFloat") == 2
    assert ran.count("QuantizeLinear") == 2
    assert "DequantizeLinear" not in ran
    assert ran.count("Add") <= 1


def test_weights_are_symmetric_with_a_scale_for_each_output(jobs: dict[str, Job]) -> None:
    graph = quantised(Static(), jobs["tokens"]).graph
    integers = _constants(graph, TensorProto.INT8)
    floats = _constants(graph, TensorProto.FLOAT)
    weights = {name: values for name, values in integers.items() if values.ndim == 2}
    assert sorted(weight.shape for weight in weights.values()) == [(12, 24), (24, 16)]
    for name, weight in weights.items():
        assert (np.abs(weight).max(axis=0) == 127).all()
        assert floats[name.replace(".int8", ".scales")].shape == (weight.shape[1],)
        assert not integers[name.replace(".int8", ".zeros")].any()


def test_one_scale_for_all_outputs_is_coarser(jobs: dict[str, Job]) -> None:
    graph = quantised(Static(), jobs["tokens"], per_channel=False).graph
    weights = [v for v in _constants(graph, TensorProto.INT8).values() if v.ndim == 2]
    assert all((np.abs(weight).max(axis=0) < 127).any() for weight in weights)


def test_weights_of_seven_bits(jobs: dict[str, Job]) -> None:
    graph = quantised(Static(), jobs["flat"], reduce_range=True).graph
    weights = [v for v in _constants(graph, TensorProto.INT8).values() if v.ndim == 2]
    assert max(np.abs(weight).max() for weight in weights) == 64


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_other_ranges_make_another_graph(jobs: dict[str, Job], method: str) -> None:
    job = jobs["flat"]
    other = quantised(Static(), job, calibration_method=method)
    assert other.notes["integer_kernels"] == PRODUCTS["flat"] - 1
    inputs = held_out(job, 300)
    assert not np.array_equal(
        scores(other.graph, inputs), scores(quantised(Static(), job).graph, inputs)
    )
    assert np.corrcoef(scores(other.graph, inputs), scores(job.graph, inputs))[0, 1] > 0.9


def test_more_layers_can_stay_float_but_not_all(jobs: dict[str, Job]) -> None:
    assert integer_kernels(quantised(Static(), jobs["flat"], float_layers=2).graph) == 1
    assert integer_kernels(quantised(Static(), jobs["flat"], float_layers=0).graph) == 3
    with pytest.raises(TechniqueError, match="float_layers keeps all of them in float"):
        quantised(Static(), jobs["flat"], float_layers=3)


def test_sensitive_layers_are_left_in_float_by_measure(jobs: dict[str, Job]) -> None:
    job = jobs["flat"]
    wide = quantised(Static(), job, float_layers="auto", output_error=1.0)
    alone: dict[str, float] = wide.notes["output_error_alone"]
    worst, least = max(alone, key=alone.__getitem__), min(alone.values())
    assert len(wide.notes["float_layers"]) == 1
    narrow = quantised(Static(), job, float_layers="auto", output_error=(least + alone[worst]) / 2)
    assert set(narrow.notes["float_layers"]) == {worst, *wide.notes["float_layers"]}
    assert narrow.notes["output_error"] == pytest.approx(least)
    assert narrow.notes["integer_kernels"] == integer_kernels(narrow.graph) == 1
    inputs = held_out(job)
    exact = scores(job.graph, inputs)
    errors = [np.abs(scores(made.graph, inputs) - exact).mean() for made in (narrow, wide)]
    assert errors[0] < errors[1]


def test_the_calibration_set_is_checked(jobs: dict[str, Job], tmp_path: Any) -> None:
    path = tmp_path / "far.npz"
    np.savez(path, x=1000 * np.ones((40, 12), np.float32))
    with pytest.raises(DataError, match="off the training window"):
        quantised(Static(), jobs["flat"], calibration=str(path))
