from __future__ import annotations

import numpy as np
import pytest

from compression.errors import TechniqueError
from compression.graphs.inspect import integer_kernels, optimised
from compression.quantisation import Job
from compression.quantisation.dynamic import Dynamic
from tests.compression.quantisation.small import PRODUCTS, held_out, quantised, scores

KERNELS = {"flat": 2, "tokens": 2, "images": 1}


def test_matmul_and_gemm_become_integer(job: Job, kind: str) -> None:
    made = quantised(Dynamic(), job)
    assert made.precision == "int8"
    assert integer_kernels(made.graph) == made.notes["integer_kernels"] == KERNELS[kind]
    assert len(made.notes["float_layers"]) == PRODUCTS[kind] - KERNELS[kind]
    inputs = held_out(job)
    exact, rough = scores(job.graph, inputs), scores(made.graph, inputs)
    assert np.corrcoef(rough, exact)[0, 1] > 0.99
    assert len(np.unique(rough)) >= 0.5 * len(np.unique(exact))


def test_convolutions_stay_float_and_the_notes_say_so(jobs: dict[str, Job]) -> None:
    made = quantised(Dynamic(), jobs["images"])
    assert sum("Conv" in node.op_type for node in optimised(made.graph).node) == 2
    assert len(made.notes["float_layers"]) == 3


def test_something_has_to_be_integer(jobs: dict[str, Job]) -> None:
    with pytest.raises(TechniqueError, match=r"quantize \(dynamic\) needs a MatMul or Gemm"):
        quantised(Dynamic(), jobs["flat"], float_layers=3)
