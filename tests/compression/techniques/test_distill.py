from __future__ import annotations

import numpy as np
import torch

from compression.models.scorer import Scorer
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.distill import Distill, DistillOptions
from compression.training.objectives import SoftAndHardLabels
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows, pooled
from tests.compression.techniques.conftest import TRAINING
from tests.compression.techniques.reports import Reports


def _loss(module: Scorer, context: Context) -> float:
    """Of the distillation itself, on rows it trained on."""
    workload = context.workload
    pool = training_pool(workload, 2_000, 0)
    logits, _ = context.teacher_outputs(pool, lambda done, rows: None)
    rows = TrainingRows(
        pooled(workload.gather(pool)),
        workload.head.targets(workload.labels[pool]),
        workload.labels[pool],
        logits,
    )
    (batch,) = rows.batches(np.arange(len(pool)), len(pool))
    with torch.inference_mode():
        return float(SoftAndHardLabels(workload.head, 2.0, 0.5)(module.body(*batch.inputs), batch))


def test_the_student_learns_from_its_teacher(distilled: Candidate, shared_context: Context) -> None:
    untrained = distilled.template.build(shared_context.workload)
    before, after = _loss(untrained, shared_context), _loss(distilled.module, shared_context)
    assert after < 0.8 * before


def test_the_student_is_small_and_of_the_sizes_asked_for(
    candidate: Candidate, distilled: Candidate
) -> None:
    assert parameter_count(distilled.module) < 0.3 * parameter_count(candidate.module)
    assert distilled.template.kind == "student"
    assert distilled.template.options == {**TRAINING["student"], "seed": 0}  # type: ignore[dict-item]
    assert not distilled.module.training


def test_it_notes_what_teaching_took(distilled: Candidate) -> None:
    (notes,) = distilled.notes
    assert notes["training_seconds"] > 0
    assert notes["teacher_scoring_seconds"] > 0
    assert notes["rows_seen"] % 128 == 0
    assert notes["rows_seen"] > 10_000
    assert distilled.seconds[0] > notes["training_seconds"]


def test_the_student_is_recalibrated_on_validation_rows(
    distilled: Candidate, shared_context: Context
) -> None:
    workload, rows = shared_context.workload, shared_context.validation.rows
    inputs = [torch.from_numpy(array) for array in workload.gather(rows).values()]
    with torch.inference_mode():
        scores = distilled.module(*inputs).numpy()
    assert float(distilled.module.get_buffer("slope")) != 1.0
    assert abs(scores.mean() - workload.labels[rows].mean()) < 0.01


def test_a_warm_cache_of_teacher_logits_gives_the_same_student(
    candidate: Candidate, distilled: Candidate, context: Context
) -> None:
    reports = Reports()
    options = DistillOptions.model_validate(TRAINING)
    again = Distill().apply(candidate, options, context, reports)
    assert list(context.work.glob("teacher-*.npz"))
    warm = Distill().apply(candidate, options, context, Reports())
    for other in (again, warm):
        for name, value in distilled.module.state_dict().items():
            assert torch.equal(other.module.state_dict()[name], value), name
    assert reports.calls[-1][0] == reports.calls[-1][1]
