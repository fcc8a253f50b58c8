import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from compression.quality.metrics import (
    auc,
    average_precision,
    card_precision,
    distinct_scores,
    expected_calibration_error,
    recall_at_fpr,
)

ROW = st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3))


@settings(deadline=None, max_examples=150)
@given(st.lists(ROW, min_size=2, max_size=40), st.booleans())
def test_rank_metrics_agree_with_sklearn(rows: list[tuple[bool, int, int]], weigh: bool) -> None:
    labels = np.array([row[0] for row in rows])
    scores = np.array([row[1] for row in rows], np.float32) / 5
    weights = np.array([row[2] for row in rows], np.float64) if weigh else None
    mass = np.ones(len(rows)) if weights is None else weights
    if not mass[labels].sum() or not mass[~labels].sum():
        return
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected)
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert auc(labels, scores, weights) == pytest.approx(expected)
    rates, recalls, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    for fpr in (0.0, 0.11, 0.37, 1.0):
        expected = recalls[rates <= fpr].max()
        assert recall_at_fpr(labels, scores, weights, fpr) == pytest.approx(expected)


def test_recall_counts_the_last_allowed_false_positive() -> None:
    labels = np.array([True, False, True, False] + [False] * 98)
    scores = np.linspace(1, 0, len(labels))
    assert recall_at_fpr(labels, scores) == 1.0
    assert recall_at_fpr(labels, scores, np.full(len(labels), 0.1)) == 1.0
    assert recall_at_fpr(labels, scores, fpr=0.009) == 0.5


def test_do_not_depend_on_the_order_of_rows(rows: Any) -> None:
    scores = np.round(rows.scores, 2)
    mixed = np.random.default_rng(0).permutation(len(scores))
    for metric in (average_precision, auc, recall_at_fpr, expected_calibration_error):
        again = metric(rows.labels[mixed], scores[mixed])
        assert again == pytest.approx(metric(rows.labels, scores), abs=1e-9)


def test_calibration_error_of_equal_mass_bins(rows: Any) -> None:
    order = np.argsort(rows.logits)[: 15 * 333]
    labels, scores = rows.labels[order], rows.scores[order].astype(np.float64)
    bins = zip(labels.reshape(15, 333), scores.reshape(15, 333), strict=True)
    expected = np.mean([abs(seen.mean() - said.mean()) for seen, said in bins])
    assert expected_calibration_error(labels, scores) == pytest.approx(expected)


def test_calibration_error_of_known_models(rows: Any) -> None:
    generator = np.random.default_rng(1)
    truth = generator.beta(0.5, 5, 100_000)
    labels = generator.random(100_000) < truth
    assert expected_calibration_error(labels, truth) < 0.005
    assert expected_calibration_error(labels, truth + 0.1) == pytest.approx(0.1, abs=0.005)
    constant = np.full(len(rows.labels), 0.3, np.float32)
    excess = 0.3 - rows.labels.mean()
    assert expected_calibration_error(rows.labels, constant) == pytest.approx(excess)


def test_calibration_error_takes_weights_as_repeats(rows: Any) -> None:
    scores = np.round(rows.scores, 1)
    times = np.random.default_rng(2).integers(0, 4, len(scores))
    expected = expected_calibration_error(np.repeat(rows.labels, times), np.repeat(scores, times))
    weighted = expected_calibration_error(rows.labels, scores, times.astype(np.float64))
    assert weighted == pytest.approx(expected)
    assert np.isnan(expected_calibration_error(rows.labels, scores, np.zeros(len(scores))))


def _slow_card_precision(rows: Any, scores: npt.NDArray[Any], k: int, remove: bool) -> float:
    found: set[int] = set()
    shares = []
    for day in sorted(set(rows.day.tolist())):
        best: dict[int, tuple[float, bool]] = {}
        for i in np.flatnonzero(rows.day == day):
            name = int(rows.customer[i])
            score, fraud = best.get(name, (-np.inf, False))
            best[name] = max(score, float(scores[i])), fraud or bool(rows.labels[i])
        ranked = sorted((-score, name) for name, (score, _) in best.items() if name not in found)
        hits = {name for _, name in ranked[:k] if best[name][1]}
        found |= hits if remove else set()
        shares.append(len(hits) / k)
    return float(np.mean(shares))


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_card_precision_agrees_with_a_slow_one(rows: Any, k: int, remove: bool) -> None:
    scores = np.round(rows.scores, 1)
    mixed = np.random.default_rng(0).permutation(len(scores))
    fast = card_precision(
        rows.labels[mixed],
        scores[mixed],
        rows.customer[mixed],
        rows.day[mixed],
        k,
        remove_detected=remove,
    )
    assert fast == pytest.approx(_slow_card_precision(rows, scores, k, remove))


def test_card_precision_needs_every_row(rows: Any) -> None:
    weights = np.ones(len(rows.labels))
    labels, scores, customer, day = rows.labels, rows.scores, rows.customer, rows.day
    assert card_precision(labels, scores, customer, day, weights=weights) is None
    assert card_precision(labels[:0], scores[:0], customer[:0], day[:0]) is None


def test_distinct_scores() -> None:
    assert distinct_scores(np.array([0.5, 0.25, 0.5], np.float32)) == 2


def test_grows_like_a_sort_with_the_rows(drawn: Callable[..., Any]) -> None:
    def taken_seconds(number: int) -> float:
        rows = drawn(number, seed=1, share=0.007)
        weights = np.ones(number)
        tries = []
        for _ in range(3):
            started = time.thread_time()
            average_precision(rows.labels, rows.scores, weights)
            tries.append(time.thread_time() - started)
        return min(tries)

    # 25 times the rows: about 30 times the work for a sort, 625 times for pairs of rows.
    assert taken_seconds(500_000) < 200 * taken_seconds(20_000)
