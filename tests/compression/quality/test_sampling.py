from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compression.errors import DataError
from compression.quality.metrics import auc, average_precision
from compression.quality.sampling import Sample, weighted_sample

ROWS_WANTED = 3000
DRAWS = 120


@pytest.fixture(scope="module")
def rows(drawn: Callable[..., Any]) -> Any:
    """60,000 rows; `logits` is the model to judge, `others` the proxy (AP 0.26 and 0.17)."""
    return drawn(60_000, seed=8, share=0.01, noise=0.6)


def _uniform(labels: Any, seed: int) -> Sample:
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    wanted = ROWS_WANTED - len(positives)
    chosen = np.random.default_rng(seed).choice(negatives, wanted, replace=False)
    index = np.concatenate((positives, chosen))
    return Sample(index, np.where(labels[index], 1.0, len(negatives) / wanted))


def _figures(rows: Any, samples: list[Sample]) -> Any:
    return np.array(
        [
            [metric(rows.labels[s.index], rows.logits[s.index], s.weights) for s in samples]
            for metric in (average_precision, auc)
        ]
    )


def test_unbiased_and_far_sharper_than_uniform_negatives(rows: Any) -> None:
    truth = [metric(rows.labels, rows.logits) for metric in (average_precision, auc)]
    samples = [
        weighted_sample(rows.labels, rows.others, ROWS_WANTED, seed) for seed in range(DRAWS)
    ]
    figures = _figures(rows, samples)
    error = figures.std(axis=1) / np.sqrt(DRAWS)
    assert (np.abs(figures.mean(axis=1) - truth) < 4 * error).all()
    uniform = _figures(rows, [_uniform(rows.labels, seed) for seed in range(DRAWS)])
    assert figures[0].var() < uniform[0].var() / 4


def test_a_useless_proxy_costs_variance_but_no_bias(rows: Any) -> None:
    useless = np.random.default_rng(0).random(len(rows.labels))
    samples = [weighted_sample(rows.labels, useless, 6000, seed) for seed in range(DRAWS)]
    figures = _figures(rows, samples)[1]
    error = figures.std() / np.sqrt(DRAWS)
    assert abs(figures.mean() - auc(rows.labels, rows.logits)) < 4 * error


def test_weights_are_one_over_the_frequency_of_inclusion(drawn: Callable[..., Any]) -> None:
    rows = drawn(400, seed=2, share=0.05)
    count, weights = np.zeros(400), np.ones(400)
    for seed in range(2000):
        sample = weighted_sample(
            rows.labels, rows.others, 100, seed, keep_share=0.05, positive_share=0.5
        )
        count[sample.index] += 1
        weights[sample.index] = sample.weights
    deviation = np.sqrt((1 - 1 / weights) / weights / 2000)
    assert (np.abs(count / 2000 - 1 / weights) <= 4.5 * deviation).all()


def test_size_order_and_total_weight(rows: Any) -> None:
    sample = weighted_sample(rows.labels, rows.others, ROWS_WANTED, seed=1)
    assert abs(len(sample) - ROWS_WANTED) <= 1
    assert sample.index.dtype == np.int64
    assert sample.weights.dtype == np.float64
    assert (np.diff(sample.index) > 0).all()
    assert sample.weights.min() == 1
    assert sample.weights.sum() == pytest.approx(len(rows.labels), rel=0.02)


def test_keeps_positives_and_the_most_suspicious_negatives(rows: Any) -> None:
    sample = weighted_sample(rows.labels, rows.others, ROWS_WANTED, seed=1, keep_share=0.02)
    assert np.isin(np.flatnonzero(rows.labels), sample.index).all()
    negatives = np.flatnonzero(~rows.labels)
    wanted = round(0.02 * len(negatives))
    top = negatives[np.argsort(-rows.others[negatives])][:wanted]
    assert np.isin(top, sample.index).all()
    assert (sample.weights[np.isin(sample.index, top)] == 1).all()


def test_seed_decides(rows: Any) -> None:
    first, again, other = (
        weighted_sample(rows.labels, rows.others, ROWS_WANTED, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.index, again.index)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert not np.array_equal(first.index, other.index)


@pytest.mark.parametrize("wanted", [5000, 9999])
def test_all_rows_when_as_many_are_wanted(drawn: Callable[..., Any], wanted: int) -> None:
    rows = drawn(5000, seed=2)
    sample = weighted_sample(rows.labels, rows.others, wanted, seed=1)
    np.testing.assert_array_equal(sample.index, np.arange(5000))
    np.testing.assert_array_equal(sample.weights, np.ones(5000))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_of_one_class(share: float) -> None:
    labels = np.full(50, share > 0)
    sample = weighted_sample(labels, np.arange(50.0), 60, seed=0)
    assert len(sample) == 50


def test_says_when_positives_fill_the_sample(rows: Any) -> None:
    with pytest.raises(DataError, match="positive_share"):
        weighted_sample(rows.labels, rows.others, 100, seed=1)
