from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compression.quality.gate import GateConfig
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.training.scoring import Floats, outputs_of
from compression.workloads.base import Rows
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.windows import all_or_drawn
from tests.compression.techniques.reports import Reports


def test_a_drawn_window_keeps_positives_and_weighs_the_others_up(
    tiny_workload: FraudWorkload,
) -> None:
    window = tiny_workload.validation
    drawn = all_or_drawn(tiny_workload, window, 100, seed=0)
    labels = tiny_workload.labels[drawn.rows]
    assert set(window[tiny_workload.labels[window]]) <= set(drawn.rows)
    assert (~labels).sum() == 100
    assert (drawn.weights[labels] == 1).all()
    assert drawn.weights.sum() == pytest.approx(len(window))


@pytest.mark.parametrize("negatives", [None, 10**6])
def test_a_whole_window_weighs_one_a_row(
    tiny_workload: FraudWorkload, negatives: int | None
) -> None:
    whole = all_or_drawn(tiny_workload, tiny_workload.validation, negatives, seed=0)
    np.testing.assert_array_equal(whole.rows, tiny_workload.validation)
    assert (whole.weights == 1).all()


def test_teacher_logits_are_the_original_s_and_are_computed_once(context: Context) -> None:
    workload, rows = context.workload, context.workload.train[:300]
    first, second = Reports(), Reports()
    logits, seconds = context.teacher_outputs(rows, first)
    exact = outputs_of(workload.original().body, workload.gather, rows)
    np.testing.assert_allclose(logits, exact, atol=0.1)
    assert first.calls[-1] == (300, 300)
    cached, cached_seconds = context.teacher_outputs(rows, second)
    np.testing.assert_array_equal(cached, logits)
    assert cached_seconds == seconds
    assert second.calls == []


def test_teacher_logits_belong_to_their_rows(context: Context) -> None:
    rows = context.workload.train[:20]
    logits, _ = context.teacher_outputs(rows, Reports())
    other, _ = context.teacher_outputs(rows[::-1].copy(), Reports())
    np.testing.assert_allclose(other[::-1], logits, atol=0.1)
    assert len(list(context.work.iterdir())) == 2


def test_an_interrupted_cache_is_computed_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = context.workload.train[:20]

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", kill)
        with pytest.raises(KeyboardInterrupt):
            context.teacher_outputs(rows, Reports())
    assert list(context.work.iterdir()) == []
    logits, _ = context.teacher_outputs(rows, Reports())
    assert len(logits) == 20


def test_a_module_is_exported_once(
    shared_context: Context, candidate: Candidate, tiny_graph: bytes
) -> None:
    assert shared_context.float_graph(candidate.module) is tiny_graph


def test_segments_are_judged_where_the_gate_bounds_them(shared_context: Context) -> None:
    def score(rows: Rows) -> Floats:
        return shared_context.original_outputs()

    gate = GateConfig(worst_segment_ratio=0.9)
    bounded = replace(shared_context, gate=gate, replicates=100).validation_gate(score)
    assert bounded.verdict == "passed"
    assert bounded.checks[-1].name == "worst_segment_ratio"
    assert bounded.checks[-1].value == 1.0
    plain = replace(shared_context, replicates=100).validation_gate(score)
    assert len(plain.checks) == len(bounded.checks) - 1


def test_recalibration_weighs_rows(context: Context, tiny_workload: FraudWorkload) -> None:
    """Where drawn negatives stand for all of them, scores come out as on all of them."""
    module = tiny_workload.original()
    scores = []
    for negatives in (None, 500):
        rows = all_or_drawn(tiny_workload, tiny_workload.validation, negatives, seed=0)
        module.get_buffer("slope").fill_(1.0)
        replace(context, validation=rows).recalibrate(module, Reports())
        with torch.inference_mode():
            inputs = tiny_workload.gather(tiny_workload.validation).values()
            scores.append(module(*(torch.from_numpy(array) for array in inputs)).mean())
    share = tiny_workload.labels[tiny_workload.validation].mean()
    assert float(scores[0]) == pytest.approx(share, abs=0.005)
    assert float(scores[1]) == pytest.approx(share, abs=0.02)
