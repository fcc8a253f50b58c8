"""Techniques one after the other; each step is saved and reads back the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compression.graphs.inspect import integer_kernels
from compression.graphs.session import scores_of
from compression.models.attention import attentions
from compression.models.scorer import Scorer
from compression.techniques import TECHNIQUES
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.training.scoring import outputs_of
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.conftest import RETRAINING
from tests.compression.techniques.reports import Reports

PRUNE = {**RETRAINING, "remove": 0.5, "rounds": 1, "stop_at_gate": False}
QUANTIZE = {"method": "static", "calibration_rows": 100}


class _Run:
    """Applies techniques; every result goes to disk, and what comes back is given."""

    def __init__(self, start: Candidate, context: Context, folder: Path) -> None:
        self.candidate, self._context, self._folder = start, context, folder

    def step(self, name: str, options: dict[str, Any]) -> Candidate:
        technique = TECHNIQUES[name]
        parsed = technique.options.model_validate(options)
        made = technique.apply(self.candidate, parsed, self._context, Reports())
        made.save(self._folder / name)
        back = Candidate.load(self._folder / name, self._context.workload)
        assert back is not None
        self._alike(made.module, back.module)
        self.candidate = made  # as a run goes on; what it reads back later is the same
        return back

    def _alike(self, made: Scorer, back: Scorer) -> None:
        workload = self._context.workload
        inputs = workload.gather(workload.validation[:20])
        tensors = [torch.from_numpy(array) for array in inputs.values()]
        with torch.inference_mode():
            assert torch.equal(back(*tensors), made.eval()(*tensors))


def _integer_scores_rank(candidate: Candidate, context: Context) -> None:
    assert candidate.onnx is not None
    assert candidate.precision == "int8"
    assert integer_kernels(candidate.onnx) > 0
    workload = context.workload
    rows = workload.validation[:400]
    float_scores = outputs_of(candidate.module, workload.gather, rows)
    scores = scores_of(candidate.onnx, workload.gather, rows, workers=1)
    assert np.corrcoef(scores, float_scores)[0, 1] > 0.9


def test_prune_factorize_quantize(
    pruned: Candidate, shared_context: Context, tmp_path: Path, candidate: Candidate
) -> None:
    run = _Run(pruned, shared_context, tmp_path)
    thin = run.step("factorize", {**RETRAINING, "rank_share": 0.25, "min_features": 8})
    widen = thin.module.get_submodule("body.blocks.0.widen")
    assert isinstance(widen, nn.Sequential)
    assert {a.heads for a in attentions(thin.module).values()} == {2}
    assert parameter_count(thin.module) < parameter_count(pruned.module)
    _integer_scores_rank(run.step("quantize", QUANTIZE), shared_context)
    assert len(run.candidate.notes) == 3


def test_distill_prune_quantize_with_the_original_as_teacher_all_along(
    distilled: Candidate,
    shared_context: Context,
    tmp_path: Path,
    tiny_workload: FraudWorkload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught: list[np.ndarray[Any, Any]] = []
    teacher_outputs = Context.teacher_outputs

    def watched(self: Context, rows: Any, report: Any) -> Any:
        outputs, seconds = teacher_outputs(self, rows, report)
        exact = outputs_of(tiny_workload.original().body, tiny_workload.gather, rows[:50])
        np.testing.assert_allclose(outputs[:50], exact, atol=0.1)
        taught.append(outputs)
        return outputs, seconds

    monkeypatch.setattr(Context, "teacher_outputs", watched)
    run = _Run(distilled, shared_context, tmp_path)
    small = run.step("prune", PRUNE)
    assert len(taught) == 1
    assert small.template.kind == "student"
    assert parameter_count(small.module) < parameter_count(distilled.module)
    _integer_scores_rank(run.step("quantize", QUANTIZE), shared_context)
