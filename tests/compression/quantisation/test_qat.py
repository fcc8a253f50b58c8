from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import mse_loss

from compression.errors import TechniqueError
from compression.graphs.inspect import integer_kernels
from compression.models.scorer import Scorer
from compression.quantisation import Job, Quantised
from compression.quantisation.marks import without_marks
from compression.quantisation.qat import Qat
from compression.quantisation.static import Static
from compression.training.scoring import Floats, Report
from tests.compression.quantisation.small import PRODUCTS, held_out, must_not, quantised, scores

STEPS = 100


@dataclass
class Training:
    """Trains a fake-quantised copy to say what the float module says, as `retrain` would."""

    job: Job
    errors: list[float] = field(default_factory=list)
    """Mean squared distance to the float logits on the rows trained on, before and after."""
    fake_scores: Floats | None = None
    """Of the copy as it is trained, on held-out rows."""

    def train(self, module: Scorer, report: Report) -> float:
        x = torch.from_numpy(self.job.workload.gather(self.job.workload.train[:512])["x"])
        with torch.no_grad():
            expected = self.job.module.body(x)
        optimiser = torch.optim.Adam(module.body.parameters(), lr=1e-3)
        self._measure(module, x, expected)
        module.body.train()
        for step in range(STEPS):
            optimiser.zero_grad()
            mse_loss(module.body(x), expected).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            report(step + 1, STEPS)
        self._measure(module, x, expected)
        return 1.5

    def _measure(self, module: Scorer, x: torch.Tensor, expected: torch.Tensor) -> None:
        with torch.no_grad():
            self.errors.append(float(mse_loss(module.body.eval()(x), expected)))

    def recalibrate(self, module: Scorer, report: Report) -> None:
        with torch.no_grad():
            self.fake_scores = module(torch.from_numpy(held_out(self.job)["x"])).numpy()


@pytest.fixture(scope="module")
def trained(jobs: dict[str, Job]) -> dict[str, tuple[Training, Quantised]]:
    made = {}
    for kind in ("flat", "images"):
        training = Training(jobs[kind])
        job = replace(jobs[kind], train=training.train, recalibrate=training.recalibrate)
        made[kind] = (training, quantised(Qat(), job))
    return made


@pytest.fixture(params=["flat", "images"])
def case(
    request: pytest.FixtureRequest, trained: dict[str, tuple[Training, Quantised]]
) -> tuple[str, Training, Quantised]:
    return request.param, *trained[request.param]


def test_as_many_integer_kernels_as_static(case: tuple[str, Training, Quantised]) -> None:
    kind, _, made = case
    assert made.precision == "int8"
    assert integer_kernels(made.graph) == PRODUCTS[kind] - 1
    assert made.notes["integer_kernels"] == PRODUCTS[kind] - 1
    assert made.notes["training_seconds"] == 1.5
    assert made.notes["float_layers"] in (["layers.4"], ["layers.2"])


def test_the_graph_says_what_the_trained_module_said(
    case: tuple[str, Training, Quantised],
) -> None:
    """Within a quantisation step: a sum that rounds the other way moves one activation by one."""
    _, training, made = case
    given = scores(made.graph, held_out(training.job))
    assert training.fake_scores is not None
    apart = np.abs(given - training.fake_scores)
    assert apart.max() < 0.01
    assert apart.mean() < 0.001
    floats = scores(training.job.graph, held_out(training.job))
    assert apart.mean() < np.abs(given - floats).mean()


def test_scores_stay_distinct(case: tuple[str, Training, Quantised]) -> None:
    _, training, made = case
    inputs = held_out(training.job)
    exact, rough = scores(training.job.graph, inputs), scores(made.graph, inputs)
    assert np.corrcoef(rough, exact)[0, 1] > 0.97
    assert len(np.unique(rough)) >= 0.5 * len(np.unique(exact))


def test_the_module_that_comes_with_it_is_plain_and_trained(
    case: tuple[str, Training, Quantised],
) -> None:
    _, training, made = case
    before, after = training.job.module.state_dict(), made.module.state_dict()
    assert before.keys() == after.keys()
    weights = [name for name in before if name.endswith("weight")]
    assert all(not torch.equal(before[name], after[name]) for name in weights)
    assert type(made.module) is type(training.job.module)
    assert not made.module.training


def test_training_goes_through_the_rounding(case: tuple[str, Training, Quantised]) -> None:
    _, training, _ = case
    before, after = training.errors
    assert after < 0.8 * before


def test_statistics_of_batch_norm_stay(trained: dict[str, tuple[Training, Quantised]]) -> None:
    training, made = trained["images"]
    before, after = training.job.module.state_dict(), made.module.state_dict()
    statistics = [name for name in before if "running" in name]
    assert len(statistics) == 2
    assert all(torch.equal(before[name], after[name]) for name in statistics)


def test_sensitive_layers_are_not_trained_for_int8(jobs: dict[str, Job]) -> None:
    """Chosen on the float graph beforehand."""
    training = Training(jobs["flat"])
    job = replace(jobs["flat"], train=training.train, recalibrate=training.recalibrate)
    alone = quantised(Static(), job, float_layers="auto", output_error=1.0).notes[
        "output_error_alone"
    ]
    bound = sum(alone.values()) / 2
    static = quantised(Static(), job, float_layers="auto", output_error=bound)
    made = quantised(Qat(), job, float_layers="auto", output_error=bound)
    assert len(made.notes["float_layers"]) == len(static.notes["float_layers"]) == 2
    assert made.notes["output_error_alone"] == pytest.approx(alone)
    assert integer_kernels(made.graph) == 1


def test_all_layers_in_float_leave_nothing_to_train(jobs: dict[str, Job]) -> None:
    job = replace(jobs["flat"], train=must_not)
    with pytest.raises(TechniqueError, match="nothing to train"):
        quantised(Qat(), job, float_layers=3)


def _marked() -> onnx.ModelProto:
    """x is read through two grids, its product through none."""
    made = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s1", "z1"], ["q1"]),
            helper.make_node("DequantizeLinear", ["q1", "s1", "z1"], ["d1"]),
            helper.make_node("QuantizeLinear", ["x", "s2", "z2"], ["q2"]),
            helper.make_node("DequantizeLinear", ["q2", "s2", "z2"], ["d2"]),
            helper.make_node("MatMul", ["d1", "w"], ["a"], "one"),
            helper.make_node("MatMul", ["d2", "w"], ["b"], "two"),
            helper.make_node("Add", ["a", "b"], ["y"], "sum"),
        ],
        "marked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.eye(2, dtype=np.float32), "w"),
            numpy_helper.from_array(np.array(0.5, np.float32), "s1"),
            numpy_helper.from_array(np.array(55, np.uint8), "z1"),
            numpy_helper.from_array(np.array(0.25, np.float32), "s2"),
            numpy_helper.from_array(np.array(205, np.uint8), "z2"),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)])


def test_marks_are_taken_out_and_tell_ranges_and_readers() -> None:
    marks = without_marks(_marked())
    assert marks.ranges == {"x": (-51.25, 100.0)}, "the widest of both"
    assert marks.readers == {"one", "two"}
    graph = onnx.load_from_string(marks.graph).graph
    assert [(node.op_type, list(node.input)) for node in graph.node] == [
        ("MatMul", ["x", "w"]),
        ("MatMul", ["x", "w"]),
        ("Add", ["a", "b"]),
    ]
    assert [tensor.name for tensor in graph.initializer] == ["w"]
