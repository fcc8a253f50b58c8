from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compression.errors import TechniqueError
from compression.graphs.inspect import flops_per_row
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.factorize import Factorize, FactorizeOptions, factorise_layers
from compression.training.scoring import outputs_of
from tests.compression.pruning.networks import network
from tests.compression.techniques.conftest import RETRAINING
from tests.compression.techniques.reports import Reports


def _options(**options: Any) -> FactorizeOptions:
    return FactorizeOptions.model_validate({**RETRAINING, "min_features": 8, **options})


@pytest.fixture(scope="module")
def thin(candidate: Candidate, shared_context: Context) -> Candidate:
    """A quarter of every rank, retrained."""
    options = _options(rank_share=0.25)
    return Factorize().apply(candidate, options, shared_context, Reports())


def test_layers_become_two_thin_ones(candidate: Candidate, thin: Candidate) -> None:
    widen = thin.module.get_submodule("body.blocks.0.widen")
    assert isinstance(widen, nn.Sequential)
    assert [tuple(layer.get_parameter("weight").shape) for layer in widen] == [(4, 16), (32, 4)]
    (notes,) = thin.notes
    assert notes["layers"]["blocks.0.widen"]["rank"] == 4
    assert 0 < notes["layers"]["blocks.0.widen"]["energy"] < 1
    assert "head" not in notes["layers"]  # one output
    assert notes["parameters_before"] == parameter_count(candidate.module)
    assert notes["parameters_after"] == parameter_count(thin.module) < notes["parameters_before"]
    assert notes["zstd_bytes"] < notes["zstd_bytes_dense"]
    assert notes["p50_ratio_to_dense"] > 0


def test_every_layer_replaced_multiplies_less(
    thin: Candidate, shared_context: Context, tiny_graph: bytes
) -> None:
    assert flops_per_row(shared_context.float_graph(thin.module)) < 0.8 * flops_per_row(tiny_graph)
    for part in thin.module.modules():
        if isinstance(part, nn.Sequential):
            down, up = (layer.get_parameter("weight") for layer in part)
            rank, inputs, outputs = down.shape[0], down.shape[1], up.shape[0]
            assert rank * (inputs + outputs) < inputs * outputs


@pytest.mark.usefixtures("stand_in_graphs")
def test_nearly_all_of_the_energy_is_nearly_the_same_network(
    candidate: Candidate, shared_context: Context
) -> None:
    module = copy.deepcopy(candidate.module)
    with torch.no_grad():  # a layer of rank two, and a little noise
        widen = module.get_submodule("body.blocks.0.widen").get_parameter("weight")
        noise = 1e-4 * torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
        widen.copy_(widen[:, :2] @ widen[:2, :16] + noise)
    start = Candidate(candidate.template, module)
    options = _options(energy=0.9999, epochs=0)
    made = Factorize().apply(start, options, shared_context, Reports())
    assert made.notes[0]["layers"]["blocks.0.widen"]["rank"] == 2
    assert made.notes[0]["training_seconds"] == 0
    workload = shared_context.workload
    rows = workload.test[:50]
    expected = outputs_of(module.body, workload.gather, rows)
    np.testing.assert_allclose(
        outputs_of(made.module.body, workload.gather, rows), expected, atol=0.05
    )


def test_layers_whose_weights_others_read_stay_whole() -> None:
    module, example = network("library_encoder")
    options = _options(rank_share=0.1, min_features=2)
    assert [layer.name for layer in factorise_layers(module, example, options)] == []
    assert module(*example).shape == (5, 1)


def test_layers_can_be_kept_and_small_ones_are() -> None:
    module, example = network("encoder")
    options = _options(rank_share=0.25, keep=("attention.*",), min_features=16)
    done = [layer.name for layer in factorise_layers(module, example, options)]
    assert done == ["feed.0", "feed.2"]
    assert module(*example).shape == (5, 3)


def test_where_nothing_would_multiply_less_it_says_so(
    candidate: Candidate, shared_context: Context
) -> None:
    with pytest.raises(TechniqueError, match="lower energy, rank_share or min_features"):
        Factorize().apply(candidate, _options(energy=1.0), shared_context, Reports())


def test_two_ways_to_a_rank_are_refused() -> None:
    with pytest.raises(ValidationError, match="give one of them"):
        FactorizeOptions(energy=0.9, rank_share=0.5)
