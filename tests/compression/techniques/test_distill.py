from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from compression.errors import TechniqueError
from compression.heads import Regression
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


def test_labels_that_are_not_known_are_not_looked_at(
    candidate: Candidate, shared_context: Context
) -> None:
    """Turning the labels of the later rows round changes nothing."""
    options = DistillOptions.model_validate(
        {**TRAINING, "epochs": 1, "labelled_share": 0.5, "near_share": 0.3}
    )
    workload = copy.copy(shared_context.workload)
    pool = training_pool(workload, options.pool_negatives, shared_context.seed)
    teacher, _ = shared_context.teacher_outputs(pool, Reports())
    middle = workload.train[len(workload.train) // 2]
    turned = copy.copy(workload)
    turned.labels = np.where(
        np.arange(len(workload.labels)) > middle, ~workload.labels, workload.labels
    )
    rows, others = (Distill().rows(options, either, pool, teacher) for either in (workload, turned))
    assert rows.known is not None
    assert 0 < rows.known.sum() < len(pool)
    np.testing.assert_array_equal(rows.rare, others.rare)
    np.testing.assert_array_equal(rows.near, others.near)
    np.testing.assert_array_equal(rows.targets[rows.known], others.targets[rows.known])
    student = Distill().apply(candidate, options, shared_context, Reports())
    assert student.notes[0]["rows_seen"] > 0


def test_near_rows_are_those_that_the_teacher_scores_highest(shared_context: Context) -> None:
    options = DistillOptions.model_validate({**TRAINING, "near_share": 0.3, "near_quantile": 0.9})
    workload = shared_context.workload
    pool = training_pool(workload, options.pool_negatives, shared_context.seed)
    teacher, _ = shared_context.teacher_outputs(pool, Reports())
    rows = Distill().rows(options, workload, pool, teacher)
    assert rows.near is not None
    assert not (rows.near & rows.rare).any()
    far = ~rows.near & ~rows.rare
    assert rows.near.sum() == pytest.approx(0.1 * (~rows.rare).sum(), abs=2)
    assert teacher[rows.near].min() >= teacher[far].max()


def test_recent_rows_are_trained_on_without_their_labels(
    candidate: Candidate, shared_context: Context
) -> None:
    workload = shared_context.workload
    newer = workload.unlabelled
    assert len(newer) > 200
    trained, judged = workload.days[workload.train].max(), workload.days[workload.validation].min()
    assert trained < workload.days[newer].min() <= workload.days[newer].max() < judged
    options = DistillOptions.model_validate({**TRAINING, "epochs": 1, "recent_rows": 200})
    turned = copy.copy(workload)
    turned.labels = workload.labels.copy()
    turned.labels[newer] = ~workload.labels[newer]
    students = [
        Distill().apply(candidate, options, replace(shared_context, workload=either), Reports())
        for either in (workload, turned)
    ]
    weights = [parameters_to_vector(student.module.parameters()) for student in students]
    assert torch.equal(*weights)
    without = options.model_copy(update={"recent_rows": 0})
    other = Distill().apply(candidate, without, shared_context, Reports())
    assert not torch.equal(weights[0], parameters_to_vector(other.module.parameters()))


def test_more_recent_rows_than_there_are_are_refused(
    candidate: Candidate, shared_context: Context
) -> None:
    options = DistillOptions.model_validate({**TRAINING, "recent_rows": 10**8})
    there = len(shared_context.workload.unlabelled)
    with pytest.raises(TechniqueError, match=rf"at most {there}, .* given 100000000"):
        Distill().apply(candidate, options, shared_context, Reports())


@pytest.mark.parametrize("more", [{"similarity_weight": 1.0}, {"second_teacher": "boosting"}])
def test_other_ways_to_be_taught_change_the_student_and_leave_it_whole(
    candidate: Candidate, shared_context: Context, more: dict[str, Any]
) -> None:
    options = DistillOptions.model_validate({**TRAINING, "epochs": 1})
    plain = Distill().apply(candidate, options, shared_context, Reports())
    taught = [
        Distill().apply(candidate, options.model_copy(update=more), shared_context, Reports())
        for _ in range(2)
    ]
    vectors = [parameters_to_vector(one.module.parameters()) for one in (plain, *taught)]
    assert torch.equal(vectors[1], vectors[2])
    assert not torch.equal(vectors[0], vectors[1])
    assert shared_context.float_graph(taught[0].module)


def test_near_rows_are_the_default_where_there_can_be_any(shared_context: Context) -> None:
    options, workload = DistillOptions.model_validate(TRAINING), shared_context.workload
    pool = training_pool(workload, options.pool_negatives, shared_context.seed)
    teacher, _ = shared_context.teacher_outputs(pool, Reports())
    rows = Distill().rows(options, workload, pool, teacher)
    assert rows.near is not None
    assert rows.near_share == pytest.approx(1 / 3)
    numbers = copy.copy(workload)
    numbers.head, numbers.labels = Regression(threshold=0.5), workload.labels.astype(np.float32)
    without = Distill().rows(options, numbers, pool, teacher)
    assert (without.near, without.near_share) == (None, 0.0)
    asked = options.model_copy(update={"near_share": 0.2})
    with pytest.raises(TechniqueError, match="leave it out"):
        Distill().rows(asked, numbers, pool, teacher)
