from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest

from compression.errors import TechniqueError
from compression.graphs.inspect import integer_kernels
from compression.quantisation import Job
from compression.quantisation.weight_only import WeightOnly
from tests.compression.quantisation.small import held_out, quantised, scores


@pytest.mark.parametrize(("bits", "precision", "close"), [(8, "int8", 0.01), (4, "int4", 0.06)])
@pytest.mark.parametrize("kind", ["flat", "tokens"])
def test_weights_of_few_bits(
    jobs: dict[str, Job], kind: str, bits: int, precision: str, close: float
) -> None:
    job = jobs[kind]
    made = quantised(WeightOnly(), job, bits=bits, block_size=16)
    assert made.precision == precision
    assert integer_kernels(made.graph) == made.notes["integer_kernels"] == 2
    nodes = [n for n in onnx.load_from_string(made.graph).graph.node if n.op_type == "MatMulNBits"]
    settings = [{a.name: a.i for a in node.attribute} for node in nodes]
    assert {(s["bits"], s["block_size"], s["accuracy_level"]) for s in settings} == {(bits, 16, 4)}
    inputs = held_out(job)
    exact, rough = scores(job.graph, inputs), scores(made.graph, inputs)
    assert 0 < np.abs(rough - exact).mean() < close
    assert len(np.unique(rough)) >= 0.5 * len(np.unique(exact))


def test_a_row_s_score_is_its_own(jobs: dict[str, Job]) -> None:
    graph = quantised(WeightOnly(), jobs["tokens"], bits=4).graph
    x = held_out(jobs["tokens"], 40)["x"]
    alone = [scores(graph, {"x": x[row : row + 1]})[0] for row in range(len(x))]
    np.testing.assert_allclose(alone, scores(graph, {"x": x}), atol=1e-5)


def test_it_needs_a_matmul_to_work_on(jobs: dict[str, Job]) -> None:
    with pytest.raises(TechniqueError, match=r"a MatMul or Gemm .* of 3 products 5 are"):
        quantised(WeightOnly(), jobs["flat"], float_layers=5)


def test_it_says_nothing_and_leaves_the_root_logger_alone(
    jobs: dict[str, Job], capfd: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:]
    quantised(WeightOnly(), jobs["tokens"])
    assert logging.getLogger().handlers == before
    assert capfd.readouterr() == ("", "")
