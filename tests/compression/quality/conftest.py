"""Rows of a rare event with scores that overlap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest


@dataclass(frozen=True)
class Rows:
    """Labels, logits of two models and a customer and a day, one of each per row."""

    labels: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.float64]
    others: npt.NDArray[np.float64]
    customer: npt.NDArray[np.int32]
    day: npt.NDArray[np.int32]

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        return (1 / (1 + np.exp(-self.logits))).astype(np.float32)

    @property
    def other_scores(self) -> npt.NDArray[np.float32]:
        return (1 / (1 + np.exp(-self.others))).astype(np.float32)


def draw(rows: int, seed: int, share: float = 0.02, noise: float = 0.3) -> Rows:
    """Normal logits, those of positives 2.5 higher; the other model sees them with noise."""
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < share
    logits = generator.normal(size=rows) + 2.5 * labels
    others = logits + noise * generator.normal(size=rows)
    customer = generator.integers(0, max(rows // 40, 5), rows).astype(np.int32)
    day = np.sort(generator.integers(100, 114, rows)).astype(np.int32)
    return Rows(labels, logits, others, customer, day)


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Rows]:
    return draw


@pytest.fixture
def rows() -> Rows:
    """5,000 rows, about 100 positives, 125 customers, 14 days."""
    return draw(5000, seed=3)
