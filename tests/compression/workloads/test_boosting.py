from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from compression.heads import Binary, Embedding, Head, MultiClass, Regression
from compression.training.rows import Inputs
from compression.workloads import boosting
from compression.workloads.boosting import Boosting

N = 600
GENERATOR = np.random.default_rng(0)
FLAT = GENERATOR.standard_normal((N, 2)).astype(np.float32)
SQUARE = GENERATOR.standard_normal((N, 2, 2)).astype(np.float32)
TOTAL = FLAT.sum(axis=1) + SQUARE[:, 1, 1]
TRAIN, TEST = np.arange(400), np.arange(400, N)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1, "openmp"):
        yield


def _gather(rows: np.ndarray) -> Inputs:
    return {"flat": FLAT[rows], "square": SQUARE[rows]}


def _outputs(head: Head, labels: np.ndarray) -> Any:
    return Boosting(head, _gather).fit(TRAIN, labels[TRAIN], seed=0).outputs(TEST)


def test_probabilities_find_the_positives() -> None:
    labels = TOTAL > 0
    scores = _outputs(Binary(), labels)
    assert scores.shape == (200,)
    assert scores.dtype == np.float32
    assert scores[labels[TEST]].mean() > scores[~labels[TEST]].mean() + 0.5


def test_classes_have_a_column_each_even_if_none_was_seen() -> None:
    labels = np.digitize(TOTAL, [-1, 1])
    outputs = _outputs(MultiClass(5), labels)
    assert outputs.shape == (200, 5)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
    assert (outputs[:, 3:] == 0).all()
    assert (outputs.argmax(axis=1) == labels[TEST]).mean() > 0.6


def test_numbers_follow_the_inputs() -> None:
    outputs = _outputs(Regression(0.0), TOTAL)
    assert np.corrcoef(outputs, TOTAL[TEST])[0, 1] > 0.9


def test_embeddings_are_components_of_length_one() -> None:
    outputs = _outputs(Embedding(), np.arange(N) % 50)
    assert outputs.shape == (200, 6)
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1, atol=1e-5)


def test_of_too_many_rows_the_rare_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "TRAINING_ROWS", 100)
    rare = np.arange(400) % 10 == 0
    chosen = Boosting(Binary(), _gather)._chosen(rare, seed=0)
    assert len(chosen) == len(set(chosen.tolist())) == 100
    assert rare[chosen].sum() == 40
