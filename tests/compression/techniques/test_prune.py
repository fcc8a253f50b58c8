from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compression.graphs.inspect import flops_per_row
from compression.graphs.session import scores_of
from compression.models.attention import attentions
from compression.models.transformer import Attention, TransactionTransformer
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.prune import PruneOptions, blocks_of, remove_structures
from compression.training.scoring import outputs_of
from compression.workloads.fraud.workload import FraudWorkload


def _attentions(candidate: Candidate) -> list[Attention]:
    return [part for part in candidate.module.modules() if isinstance(part, Attention)]


def test_tensors_really_shrink(candidate: Candidate, pruned: Candidate) -> None:
    for before, after in zip(blocks_of(candidate.module), blocks_of(pruned.module), strict=True):
        assert after.widen.weight.shape == (16, 16)
        assert after.narrow.weight.shape == (16, 16)
        assert before.widen.weight.shape == (32, 16)
        for name in ("q", "k", "v"):
            assert getattr(after.attention, name).weight.shape == (8, 16)
        assert after.attention.out.weight.shape == (16, 8)


def test_whole_heads_go_and_the_attention_knows(candidate: Candidate, pruned: Candidate) -> None:
    assert [attention.heads for attention in _attentions(candidate)] == [4, 4]
    assert [attention.heads for attention in _attentions(pruned)] == [2, 2]
    assert {a.heads for a in attentions(pruned.module).values()} == {2}


def test_the_residual_stream_keeps_its_width(pruned: Candidate) -> None:
    body = pruned.module.body
    assert isinstance(body, TransactionTransformer)
    assert body.position.shape == (8, 16)
    assert body.embed_transaction.weight.shape == (16, 20)
    assert body.head.weight.shape == (1, 16)


def test_it_notes_what_went_and_what_it_took(candidate: Candidate, pruned: Candidate) -> None:
    (notes,) = pruned.notes
    assert notes["parameters_before"] == parameter_count(candidate.module)
    assert notes["parameters_after"] == parameter_count(pruned.module)
    assert notes["parameters_after"] < 0.7 * notes["parameters_before"]
    assert 0 < notes["training_seconds"] < pruned.seconds[0]


def test_the_original_is_not_touched(candidate: Candidate, tiny_workload: FraudWorkload) -> None:
    fresh = tiny_workload.original().state_dict()
    for name, value in candidate.module.state_dict().items():
        assert torch.equal(value, fresh[name]), name


def test_a_pruned_network_still_ranks(
    candidate: Candidate, pruned: Candidate, tiny_workload: FraudWorkload
) -> None:
    rows = tiny_workload.validation
    scores = outputs_of(pruned.module, tiny_workload.gather, rows)
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()
    labels = tiny_workload.labels[rows]
    assert scores[labels].mean() > 2 * scores[~labels].mean()


def test_a_pruned_network_exports_and_costs_less(
    pruned: Candidate, shared_context: Context, tiny_graph: bytes
) -> None:
    workload, graph = shared_context.workload, shared_context.float_graph(pruned.module)
    rows = workload.test[:40]
    expected = outputs_of(pruned.module, workload.gather, rows)
    np.testing.assert_allclose(
        scores_of(graph, workload.gather, rows, workers=1), expected, atol=1e-4
    )
    assert flops_per_row(graph) < 0.7 * flops_per_row(tiny_graph)


def test_the_least_head_goes_first(candidate: Candidate, shared_context: Context) -> None:
    module = copy.deepcopy(candidate.module)
    (attention, _) = (p for p in module.modules() if isinstance(p, Attention))
    weak = slice(4, 8)
    with torch.no_grad():
        for layer in (attention.q, attention.k, attention.v):
            layer.weight[weak] *= 1e-3
            layer.bias[weak] *= 1e-3
        attention.out.weight[:, weak] *= 1e-3
    kept = torch.cat((attention.q.weight[:4], attention.q.weight[8:])).clone()
    remove_structures(module.body, 3, 32, shared_context)
    assert attention.heads == 3
    assert torch.equal(attention.q.weight, kept)


@pytest.mark.parametrize(("heads", "hidden"), [(4, 32), (4, 31), (3, 32), (3, 20), (1, 1)])
def test_exactly_as_much_is_left_as_is_asked_for(
    candidate: Candidate, shared_context: Context, heads: int, hidden: int
) -> None:
    module = copy.deepcopy(candidate.module)
    remove_structures(module.body, heads, hidden, shared_context)
    for block in blocks_of(module.body):
        assert block.attention.heads == heads
        assert block.attention.q.out_features == 4 * heads
        assert block.widen.out_features == hidden


@pytest.mark.parametrize("remove", [0.0, 1.0, -0.1])
def test_removing_nothing_or_everything_is_refused(remove: float) -> None:
    with pytest.raises(ValidationError, match="remove"):
        PruneOptions(remove=remove)
