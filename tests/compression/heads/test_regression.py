from __future__ import annotations

import numpy as np
import pytest
import torch

from compression.errors import DataError
from compression.heads import Regression


def test_values_must_lie_on_both_sides() -> None:
    head = Regression(threshold=10.0)
    head.check(np.array([3.0, 12.0]), "train")
    with pytest.raises(DataError, match="values from 3 to 4"):
        head.check(np.array([3.0, 4.0]), "train")
    with pytest.raises(DataError, match="finite"):
        head.check(np.array([3.0, np.inf]), "train")


def test_a_trial_is_whether_the_value_is_above() -> None:
    trials = Regression(10.0).trials(np.array([9.0, 8.0], np.float32), np.array([12.0, 3.0]))
    assert trials.labels.tolist() == [True, False]
    assert trials.scores.tolist() == [9.0, 8.0]


def test_losses_are_distances() -> None:
    head, raw = Regression(0.0), torch.tensor([1.0, 2.0])
    assert float(head.soft_loss(raw, raw + 2, 5.0)) == 4.0
    assert float(head.hard_loss(raw, raw + 3)) == 2.5, "linear beyond 1"
