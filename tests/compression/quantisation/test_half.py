from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from compression.errors import TechniqueError
from compression.graphs.inspect import optimised
from compression.models.scorer import CalibratedScorer
from compression.models.transformer import Standardise
from compression.quantisation import Job
from compression.quantisation.half import Half, HalfWeights
from compression.quantisation.products import products
from tests.compression.quantisation.small import (
    Flat,
    held_out,
    job_for,
    quantised,
    scores,
    workload,
)


def _with_large_weight(job: Job) -> Job:
    model = onnx.load_from_string(job.graph)
    first = products(model)[0].weight
    tensor = next(t for t in model.graph.initializer if t.name == first)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = 1e5
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return replace(job, graph=model.SerializeToString())


def test_products_are_fp16_inputs_and_outputs_are_not(job: Job) -> None:
    made = quantised(Half(), job)
    assert made.precision == "fp16"
    graph = onnx.load_from_string(made.graph).graph
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    kinds = {t.data_type for t in graph.initializer if len(t.dims) >= 2}
    assert TensorProto.FLOAT16 in kinds
    inputs = held_out(job)
    np.testing.assert_allclose(scores(made.graph, inputs), scores(job.graph, inputs), atol=0.01)


def test_scores_stay_distinct(job: Job) -> None:
    """The last product and what follows compute in fp32, not on values that were once fp16."""
    inputs = held_out(job)
    exact, rough = (scores(g, inputs) for g in (job.graph, quantised(Half(), job).graph))
    assert len(np.unique(rough)) > 0.9 * len(np.unique(exact))


def test_the_notes_say_what_it_costs_without_a_gpu(jobs: dict[str, Job]) -> None:
    made = quantised(Half(), jobs["images"])
    casts = sum(node.op_type == "Cast" for node in optimised(made.graph).node)
    assert made.notes["casts_on_cpu"] == casts
    assert made.notes["meant_for"] == "CUDA"
    assert f"computes in fp32, with {casts} casts at each call" in made.notes["note"]


class Reads(Flat):
    """Reads its input twice before the first layer."""

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 12] → logit float32[n]."""
        return super().forward(x - x.mean(dim=1, keepdim=True))


def test_an_input_may_be_read_twice() -> None:
    torch.manual_seed(3)
    job = job_for(CalibratedScorer(Reads().eval()).eval(), workload("flat"))
    inputs = held_out(job, 200)
    made = quantised(Half(), job)
    np.testing.assert_allclose(scores(made.graph, inputs), scores(job.graph, inputs), atol=0.01)


class Raw(Flat):
    """Standardises inputs that are larger than an fp16 can be."""

    def __init__(self) -> None:
        super().__init__()
        self.standardise = Standardise(12)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 12] → logit float32[n]."""
        return super().forward(self.standardise(x))


def test_raw_inputs_larger_than_fp16_are_standardised_first() -> None:
    rows = workload("flat")
    large = replace(rows, data=rows.data * 1e5 + 3e5)
    body = Raw().eval()
    body.standardise.fit(torch.from_numpy(large.data))
    job = job_for(CalibratedScorer(body).eval(), large)
    inputs = held_out(job, 200)
    assert np.abs(inputs["x"]).max() > 65504
    made = quantised(Half(), job)
    np.testing.assert_allclose(scores(made.graph, inputs), scores(job.graph, inputs), atol=0.005)


def test_stored_as_fp16_is_half_the_bytes_and_fp32_s_kernels(job: Job, kind: str) -> None:
    made = quantised(HalfWeights(), job)
    assert made.precision == "fp16"
    graphs = [onnx.load_from_string(content).graph for content in (job.graph, made.graph)]
    full, half = (
        sum(t.ByteSize() for t in graph.initializer if len(t.dims) >= 2) for graph in graphs
    )
    assert half < 0.65 * full
    kernels = [sorted(n.op_type for n in optimised(c).node) for c in (job.graph, made.graph)]
    assert kernels[0] == kernels[1]
    inputs = held_out(job)
    exact, rough = scores(job.graph, inputs), scores(made.graph, inputs)
    np.testing.assert_allclose(rough, exact, atol=0.01)
    assert len(np.unique(rough)) > 0.9 * len(np.unique(exact))


def test_vectors_keep_their_digits(jobs: dict[str, Job]) -> None:
    graph = onnx.load_from_string(quantised(HalfWeights(), jobs["tokens"]).graph).graph
    kinds = {t.data_type for t in graph.initializer if len(t.dims) == 1}
    assert TensorProto.FLOAT16 not in kinds


@pytest.mark.parametrize("method", [Half(), HalfWeights()], ids=lambda method: method.name)
def test_a_weight_that_fp16_cannot_hold_is_an_error(
    jobs: dict[str, Job], method: Half | HalfWeights
) -> None:
    with pytest.raises(TechniqueError, match=rf"quantize \({method.name}\): the weight .* 65504"):
        quantised(method, _with_large_weight(jobs["tokens"]))


def test_the_module_path_is_left_as_it_was(jobs: dict[str, Job]) -> None:
    before = sys.path[:]
    quantised(Half(), jobs["flat"])
    assert sys.path == before
