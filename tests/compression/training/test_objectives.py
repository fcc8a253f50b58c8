from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compression.errors import TrainingError
from compression.heads import Binary
from compression.training.objectives import HardLabels, SoftAndHardLabels
from compression.training.rows import Batch

LOGITS = torch.tensor([0.3, -1.2, 2.0])
TARGETS = torch.tensor([1.0, 0.0, 0.0])
TEACHER = torch.tensor([1.5, -2.0, -0.5])


def _batch(teacher: Tensor | None = TEACHER) -> Batch:
    return Batch((), TARGETS, teacher)


def _cross_entropy(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


HARD = _mean([_cross_entropy(x, y) for x, y in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)])


def test_hard_labels_are_the_mean_cross_entropy() -> None:
    assert float(HardLabels(Binary())(LOGITS, _batch(None))) == pytest.approx(HARD, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_labels_are_the_teacher_s_at_a_temperature(temperature: float) -> None:
    pairs = zip(LOGITS.tolist(), TEACHER.tolist(), strict=True)
    soft = _mean(
        [_cross_entropy(x / temperature, 1 / (1 + math.exp(-t / temperature))) for x, t in pairs]
    )
    loss = float(SoftAndHardLabels(Binary(), temperature, 0.3)(LOGITS, _batch()))
    assert loss == pytest.approx(0.3 * temperature**2 * soft + 0.7 * HARD, rel=1e-5)


def test_no_soft_weight_is_hard_labels() -> None:
    loss = SoftAndHardLabels(Binary(), 2.0, 0.0)(LOGITS, _batch())
    assert float(loss) == pytest.approx(HARD, rel=1e-5)


def test_the_soft_part_is_least_where_the_student_is_the_teacher() -> None:
    student = TEACHER.clone().requires_grad_(True)
    SoftAndHardLabels(Binary(), 3.0, 1.0)(student, _batch()).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros(3), atol=1e-6, rtol=0)


def test_without_a_teacher_there_is_nothing_to_distil() -> None:
    with pytest.raises(TrainingError, match="teacher's outputs on every training row"):
        SoftAndHardLabels(Binary())(LOGITS, _batch(None))


def test_rows_without_a_label_have_the_teacher_alone() -> None:
    objective = SoftAndHardLabels(Binary(), 2.0, 0.5)
    known = torch.tensor([True, False, False])
    given = float(objective(LOGITS, replace(_batch(), known=known)))
    soft = float(SoftAndHardLabels(Binary(), 2.0, 1.0)(LOGITS, _batch()))
    hard = _cross_entropy(LOGITS.tolist()[0], TARGETS.tolist()[0])
    assert given == pytest.approx(0.5 * soft + 0.5 * hard / 3, rel=1e-5)
    unknown = replace(_batch(), known=torch.zeros(3, dtype=torch.bool))
    assert float(objective(LOGITS, unknown)) == pytest.approx(0.5 * soft, rel=1e-5)
