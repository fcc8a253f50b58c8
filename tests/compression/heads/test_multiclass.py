from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compression.errors import DataError
from compression.heads import MultiClass


def test_labels_beyond_the_outputs_are_refused() -> None:
    head = MultiClass(3)
    head.check(np.array([0, 2]), "train")
    with pytest.raises(DataError, match=r"classes \[0, 3\] of 0 to 2"):
        head.check(np.array([0, 3]), "train")
    with pytest.raises(DataError, match="at least two"):
        head.check(np.array([1, 1]), "train")


def test_the_temperature_makes_probabilities_of_overconfident_logits() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(4000, 3))
    share = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in share])
    head = MultiClass(3)
    scorer = head.scorer(nn.Identity())
    head.calibrate(scorer, (4 * truth).astype(np.float32), labels, np.ones(4000))
    assert float(scorer.get_buffer("temperature")) == pytest.approx(4, rel=0.1)
    given = scorer(torch.from_numpy((4 * truth).astype(np.float32)))
    torch.testing.assert_close(given.sum(dim=1), torch.ones(4000))


def test_the_soft_loss_is_least_at_the_teacher() -> None:
    teacher = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.3, 2.0]])
    student = teacher.clone().requires_grad_(True)
    MultiClass(3).soft_loss(student, teacher, 3.0).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros(2, 3), atol=1e-6, rtol=0)


def test_trials_ask_for_each_class_of_each_row() -> None:
    outputs = np.array([[0.7, 0.3], [0.4, 0.6]], np.float32)
    trials = MultiClass(2).trials(outputs, np.array([0, 1]))
    assert trials.labels.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(trials.scores, outputs.ravel())
    assert trials.rows.tolist() == [0, 0, 1, 1]
