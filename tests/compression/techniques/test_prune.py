from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compression.errors import TechniqueError
from compression.graphs.inspect import flops_per_row
from compression.graphs.session import scores_of
from compression.models.attention import attentions
from compression.models.transformer import Attention, Block, TransactionTransformer
from compression.pruning.targets import measure
from compression.quality.gate import GateConfig
from compression.store import Gate
from compression.techniques.candidate import Candidate, Template, parameter_count
from compression.techniques.context import Context
from compression.techniques.prune import Prune, PruneOptions
from compression.training.scoring import outputs_of
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.conftest import RETRAINING
from tests.compression.techniques.convolution import ConvolutionWorkload, HistoryConvolution
from tests.compression.techniques.reports import Reports

LOOSE = GateConfig(
    average_precision_ratio=0, average_precision_ratio_low=0, auc_ratio=0, distinct_scores_ratio=0
)


def _blocks(candidate: Candidate) -> list[Block]:
    return [part for part in candidate.module.modules() if isinstance(part, Block)]


def _attentions(candidate: Candidate) -> list[Attention]:
    return [part for part in candidate.module.modules() if isinstance(part, Attention)]


def _options(**options: Any) -> PruneOptions:
    return PruneOptions.model_validate({**RETRAINING, **options})


def test_tensors_really_shrink(candidate: Candidate, pruned: Candidate) -> None:
    for before, after in zip(_blocks(candidate), _blocks(pruned), strict=True):
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
    assert notes["stopped"] == "rounds used up"
    assert notes["round_kept"] == len(notes["rounds"]) == 2
    assert notes["gate_held"] is None  # nobody asked
    assert notes["zstd_bytes"] < notes["zstd_bytes_dense"]
    assert notes["p50_ratio_to_dense"] > 0
    figures = notes["rounds"][-1]["figures"]
    assert (figures["parameters"], figures["bytes"]) == (
        notes["parameters_after"],
        notes["bytes"],
    )


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


def _speeds(monkeypatch: pytest.MonkeyPatch, speeds: list[float]) -> None:
    """Rounds are as fast as told; everything else is measured."""
    left = iter(speeds)

    def told(*arguments: Any) -> Any:
        return replace(measure(*arguments), speedup=next(left))

    monkeypatch.setattr("compression.techniques.prune.measure", told)


def _gates(monkeypatch: pytest.MonkeyPatch, verdicts: list[Any]) -> None:
    left = iter(verdicts)
    monkeypatch.setattr(Context, "validation_gate", lambda self, score: Gate(verdict=next(left)))


@pytest.mark.usefixtures("stand_in_graphs")
def test_rounds_go_on_until_the_target_is_met(
    candidate: Candidate, shared_context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    _speeds(monkeypatch, [1.4, 2.1])
    _gates(monkeypatch, ["passed", "passed"])
    options = _options(target={"speedup": 2.0}, step_share=0.25, rounds=5)
    made = Prune().apply(candidate, options, shared_context, Reports())
    (notes,) = made.notes
    assert notes["stopped"] == "target met"
    assert [r["left"]["blocks.0.widen"] for r in notes["rounds"]] == [24, 18]
    assert notes["target"] == {"speedup": 2.0}
    assert notes["target_reached"] == {"speedup": 2.1}
    assert notes["target_missed"] == []


@pytest.mark.usefixtures("stand_in_graphs")
def test_the_last_round_that_held_is_given_when_the_next_breaks_the_gate(
    candidate: Candidate, shared_context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gates(monkeypatch, ["passed", "failed"])
    options = _options(target={"parameters": 10}, step_share=0.25)
    made = Prune().apply(candidate, options, shared_context, Reports())
    (notes,) = made.notes
    assert (notes["stopped"], notes["round_kept"], len(notes["rounds"])) == ("gate", 1, 2)
    assert notes["gate_held"] is True
    assert notes["target_missed"] == ["parameters"]
    assert {block.widen.out_features for block in _blocks(made)} == {24}
    assert parameter_count(made.module) == notes["rounds"][0]["figures"]["parameters"]


@pytest.mark.usefixtures("stand_in_graphs")
@pytest.mark.parametrize(
    ("gate", "held"), [(GateConfig(average_precision_ratio=9.0), False), (LOOSE, True)]
)
def test_the_gate_is_the_recipes_and_a_first_round_that_breaks_it_is_told(
    candidate: Candidate, shared_context: Context, gate: GateConfig, held: bool
) -> None:
    context = replace(shared_context, gate=gate, replicates=20)
    options = _options(remove=0.5, rounds=2, structure="channels")
    (notes,) = Prune().apply(candidate, options, context, Reports()).notes
    assert notes["gate_held"] is held
    assert notes["stopped"] == ("rounds used up" if held else "gate")
    assert len(notes["rounds"]) == (2 if held else 1)
    assert ("average_precision_ratio" in notes["rounds"][0]["broken"]) is not held


class _Interrupts(Reports):
    """Ctrl-C once so much is done."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        if done > self._share * total:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("stand_in_graphs")
@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(
    candidate: Candidate, shared_context: Context, tmp_path: Path, importance: str
) -> None:
    options = _options(
        target={"parameters": 2_500}, step_share=0.3, rounds=2, importance=importance,
        stop_at_gate=False, epochs_per_round=2, importance_batches=2, max_positives=100,
    )  # fmt: skip
    unbroken = Prune().apply(candidate, options, shared_context, Reports())
    context = replace(shared_context, scratch=tmp_path / "scratch")
    for share in (0.8, 0.85):  # twice in the second round's second epoch
        with pytest.raises(KeyboardInterrupt):
            Prune().apply(candidate, options, context, _Interrupts(share))
    reports = Reports()
    resumed = Prune().apply(candidate, options, context, reports)
    assert min(done / total for done, total in reports.calls) > 0.7
    expected = unbroken.module.state_dict()
    for name, value in resumed.module.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert [r["left"] for r in resumed.notes[0]["rounds"]] == [
        r["left"] for r in unbroken.notes[0]["rounds"]
    ]


@pytest.mark.usefixtures("stand_in_graphs")
def test_convolutions_of_another_workload_shrink_too(
    tiny_workload: FraudWorkload, shared_context: Context
) -> None:
    workload = ConvolutionWorkload(tiny_workload)
    context = replace(shared_context, workload=workload)
    start = Candidate(Template("original"), workload.original())
    options = _options(remove=0.5, rounds=1, importance="taylor", stop_at_gate=False)
    made = Prune().apply(start, options, context, Reports())
    body = made.module.body
    assert isinstance(body, HistoryConvolution)
    assert body.first.weight.shape == (6, 7, 3)
    assert body.norm.num_features == 6
    # The graph takes 8 positions a channel where a flattening meets a concatenation, not 6: the
    # trial finds it out, and the layer keeps its channels.
    assert body.second.weight.shape == (10, 6, 3)
    assert body.mix.weight.shape == (8, 10 * 6 + 20)
    assert body.head.weight.shape == (1, 8)


def test_a_target_that_is_met_already_is_refused(
    candidate: Candidate, shared_context: Context
) -> None:
    count = parameter_count(candidate.module)
    with pytest.raises(TechniqueError, match=f"met before anything is pruned.*{count} parameters"):
        Prune().apply(candidate, _options(target={"parameters": count}), shared_context, Reports())


def test_where_nothing_can_go_it_says_what_there_was(
    candidate: Candidate, shared_context: Context
) -> None:
    options = _options(remove=0.01, structure="heads")
    with pytest.raises(TechniqueError, match=r"blocks\.0\.attention\.v \(4 heads\)"):
        Prune().apply(candidate, options, shared_context, Reports())
    with pytest.raises(TechniqueError, match="none"):
        Prune().apply(candidate, _options(keep=("*",)), shared_context, Reports())


@pytest.mark.parametrize("remove", [0.0, 1.0, -0.1])
def test_removing_nothing_or_everything_is_refused(remove: float) -> None:
    with pytest.raises(ValidationError, match="remove"):
        PruneOptions(remove=remove)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remove": 0.5, "target": {"speedup": 2}}, "give one of them"),
        ({"remove": 0.5, "step_share": 0.1}, "step_share goes with target"),
        ({"target": {}}, "at least one of speedup"),
        ({"importance": "random"}, "importance"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PruneOptions.model_validate(options)


def test_its_result_depends_on_the_gate_it_stops_at() -> None:
    assert PruneOptions().listens_to_gate
    assert not PruneOptions(stop_at_gate=False).listens_to_gate


def test_steps_go_to_the_share_asked_for() -> None:
    assert PruneOptions().share_left(2) == pytest.approx(0.5)
    assert PruneOptions(remove=0.2, rounds=4).share_left(4) == pytest.approx(0.8)
    assert PruneOptions.model_validate({"target": {"speedup": 2}}).share_left(2) == pytest.approx(
        0.85**2
    )


def test_copies_share_nothing(candidate: Candidate, pruned: Candidate) -> None:
    assert copy.deepcopy(pruned.module) is not candidate.module
    pointers = {p.data_ptr() for p in candidate.module.parameters()}
    assert pointers.isdisjoint(p.data_ptr() for p in pruned.module.parameters())
