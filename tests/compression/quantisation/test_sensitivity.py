from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compression.errors import TechniqueError
from compression.quantisation import Job
from compression.quantisation.calibration import CalibrationSet
from compression.quantisation.products import Product, prepared, products
from compression.quantisation.sensitivity import choose

NOISE = {0: 0.02, 1: 0.2}
"""How much a made-up quantiser spoils the product of that position."""


class Spoils:
    """Stands in for a quantiser: multiplies noise into the weights of products."""

    def __init__(self, job: Job) -> None:
        self.model = prepared(job.graph)
        self.found = products(self.model)
        self.calls: list[list[str]] = []

    def __call__(self, some: Sequence[Product]) -> bytes:
        self.calls.append([product.name for product in some])
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(self.model)
        for tensor in spoilt.graph.initializer:
            for position, product in enumerate(self.found):
                if product in some and tensor.name == product.weight:
                    exact = numpy_helper.to_array(tensor)
                    noise = np.random.default_rng(position).normal(size=exact.shape)
                    rough = (exact * (1 + NOISE[position] * noise)).astype(np.float32)
                    tensor.CopyFrom(numpy_helper.from_array(rough, tensor.name))
        content: bytes = spoilt.SerializeToString()
        return content


@pytest.fixture
def given(jobs: dict[str, Job]) -> CalibrationSet:
    workload = jobs["flat"].workload
    return CalibrationSet("rows", workload.gather(workload.train[:400]))


def test_the_worst_stays_float_until_the_bound_holds(
    jobs: dict[str, Job], given: CalibrationSet
) -> None:
    spoils = Spoils(jobs["flat"])
    reports: list[tuple[int, int]] = []
    choice = choose(
        jobs["flat"].graph, spoils.found, spoils, given, 0.1, lambda *call: reports.append(call)
    )
    assert choice.integer == spoils.found[:1]
    assert choice.floats == spoils.found[1:]
    first, second, _ = (product.name for product in spoils.found)
    assert 0 < choice.alone[first] < 0.1 < choice.alone[second]
    assert choice.output_error == choice.alone[first]
    assert reports[-1] == (1, 1)
    assert spoils.calls[:2] == [[first], [second]]


def test_nothing_more_than_the_last_stays_float_if_the_bound_is_wide(
    jobs: dict[str, Job], given: CalibrationSet
) -> None:
    spoils = Spoils(jobs["flat"])
    choice = choose(jobs["flat"].graph, spoils.found, spoils, given, 5.0, lambda *call: None)
    assert choice.floats == spoils.found[-1:]


def test_a_bound_that_nothing_holds_is_an_error(
    jobs: dict[str, Job], given: CalibrationSet
) -> None:
    spoils = Spoils(jobs["flat"])
    with pytest.raises(TechniqueError, match=r"within 1e-05 \(output_error\); the least harmful"):
        choose(jobs["flat"].graph, spoils.found, spoils, given, 1e-5, lambda *call: None)


def test_outputs_that_never_differ_measure_nothing(jobs: dict[str, Job]) -> None:
    spoils = Spoils(jobs["flat"])
    same = CalibrationSet("same", {"x": np.ones((20, 12), np.float32)})
    with pytest.raises(TechniqueError, match="on all 20 calibration rows the model gives the same"):
        choose(jobs["flat"].graph, spoils.found, spoils, same, 0.1, lambda *call: None)
