from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compression.errors import TechniqueError
from compression.training.features import FeatureTap, SimilarFeatures, features_of
from compression.training.rows import Batch


class _Network(nn.Module):
    """Two linear layers; the first makes the features."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body, self.head = nn.Linear(3, width), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        logit: Tensor = self.head(self.body(x)).flatten()
        return logit


def _nothing(raw: Tensor, batch: Batch) -> Tensor:
    return raw.sum() * 0


ROWS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


def _loss(student: _Network, features: Tensor) -> float:
    with FeatureTap(student) as tap:
        raw = student(ROWS)
        batch = Batch((ROWS,), torch.zeros(8), None, features=features)
        return float(SimilarFeatures(_nothing, tap, 1.0)(raw, batch).detach())


def test_a_teacher_that_sees_the_same_likeness_costs_nothing_at_any_width_and_scale() -> None:
    student = _Network(4, 1)
    own = student.body(ROWS).detach()
    wider = torch.cat((own, torch.zeros(8, 3)), dim=1)
    assert _loss(student, own) == pytest.approx(0, abs=1e-6)
    assert _loss(student, 7 * wider) == pytest.approx(0, abs=1e-6)
    assert _loss(student, _Network(6, 2).body(ROWS).detach()) > 0.05


def test_training_on_it_brings_the_features_together() -> None:
    student, teacher = _Network(4, 1), _Network(6, 2).body(ROWS).detach()
    before = _loss(student, teacher)
    optimiser = torch.optim.Adam(student.parameters(), lr=0.05)
    with FeatureTap(student) as tap:
        objective = SimilarFeatures(_nothing, tap, 1.0)
        batch = Batch((ROWS,), torch.zeros(8), None, features=teacher)
        for _ in range(60):
            optimiser.zero_grad()
            objective(student(ROWS), batch).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    assert _loss(student, teacher) < 0.5 * before


def test_the_weight_adds_to_the_objective() -> None:
    student, features = _Network(4, 1), torch.randn(8, 5)
    batch = Batch((ROWS,), torch.zeros(8), None, features=features)
    with FeatureTap(student) as tap:
        raw = student(ROWS)
        one, three = (
            float(SimilarFeatures(lambda *_: torch.tensor(5.0), tap, weight)(raw, batch).detach())
            for weight in (1.0, 3.0)
        )
    assert three - 5 == pytest.approx(3 * (one - 5))


def test_a_tap_that_is_left_sees_nothing_more() -> None:
    student = _Network(4, 1)
    with FeatureTap(student) as tap:
        student(ROWS)
        seen = tap.features()
    student(ROWS[:2])
    assert tap.features() is seen
    assert not student.head._forward_pre_hooks


def test_features_are_what_goes_into_the_last_linear_layer() -> None:
    network, rows = _Network(4, 1), ROWS.numpy()
    found = features_of(
        network, lambda chosen: {"x": rows[chosen]}, np.arange(8), lambda done, total: None
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, network.body(ROWS).detach().numpy(), atol=0.03)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(TechniqueError, match="no linear layer"):
        FeatureTap(nn.Conv2d(1, 1, 3))
    student = _Network(4, 1)
    with FeatureTap(student) as tap:
        objective = SimilarFeatures(_nothing, tap, 1.0)
        with pytest.raises(TechniqueError, match="needs the teacher's"):
            objective(student(ROWS), Batch((ROWS,), torch.zeros(8), None))
    with FeatureTap(student) as tap, pytest.raises(TechniqueError, match="not used"):
        tap.features()
