from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compression.errors import DataError
from compression.heads import Embedding
from compression.quality.metrics import auc

IDENTITIES = np.repeat(np.arange(20), 5)


def _vectors(noise: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(20, 8))[IDENTITIES] + noise * generator.normal(size=(100, 8))
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def test_pairs_need_an_identity_twice() -> None:
    Embedding().check(IDENTITIES, "train")
    with pytest.raises(DataError, match="the most frequent 1 times"):
        Embedding().check(np.arange(5), "train")


def test_trials_are_pairs_and_depend_on_the_labels_alone() -> None:
    head = Embedding(others_per_row=3)
    near, far = (head.trials(_vectors(noise), IDENTITIES) for noise in (0.1, 2.0))
    np.testing.assert_array_equal(near.labels, far.labels)
    np.testing.assert_array_equal(near.rows, far.rows)
    assert near.labels.sum() == 20 * 4, "five rows in a ring of which the last link is cut"
    assert near.labels.mean() < 0.3
    assert auc(near.labels, near.scores) > 0.99 > auc(far.labels, far.scores)


def test_a_row_is_never_its_own_partner() -> None:
    trials = Embedding().trials(_vectors(1.0), IDENTITIES)
    assert trials.scores.max() < 1 - 1e-4


def test_the_loss_draws_an_identity_together() -> None:
    targets = torch.from_numpy(IDENTITIES)
    near, far = (
        float(Embedding().hard_loss(torch.from_numpy(_vectors(noise)), targets))
        for noise in (0.1, 2.0)
    )
    assert near < far
    lonely = Embedding().hard_loss(torch.randn(3, 4), torch.arange(3))
    assert float(lonely) == 0.0, "a batch without a pair teaches nothing, and breaks nothing"


def test_teacher_and_student_may_differ_in_width() -> None:
    teacher = torch.from_numpy(_vectors(0.5))
    wide = torch.cat((teacher, torch.zeros(100, 3)), dim=1)
    assert float(Embedding().soft_loss(wide * 7, teacher, 1.0)) == pytest.approx(0, abs=1e-10)
    assert float(Embedding().soft_loss(torch.randn(100, 3), teacher, 1.0)) > 0.01


def test_what_is_published_has_length_one() -> None:
    given = Embedding().scorer(nn.Identity())(torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(given, torch.tensor([[0.6, 0.8]]))
