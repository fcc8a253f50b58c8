from typing import Any

import numpy as np
import pytest

from compression.quality.answers import Answers
from compression.quality.differences import score_differences
from compression.quality.evidence import evidence_of
from compression.quality.reliability import BINS, reliability, wilson


def _calibrated(rows: int, seed: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    scores = generator.beta(0.5, 8.0, rows)
    return generator.random(rows) < scores, scores


def test_calibrated_scores_lie_on_the_diagonal() -> None:
    bins = reliability(*_calibrated(40_000, 1))
    assert len(bins) == BINS
    assert sum(point.rows for point in bins) == 40_000
    predicted = [point.predicted for point in bins]
    assert predicted == sorted(predicted)
    inside = [point.low <= point.predicted <= point.high for point in bins]
    assert sum(inside) >= BINS - 2, "95 % intervals hold what is true"


def test_scores_that_are_too_high_lie_below_it() -> None:
    labels, scores = _calibrated(40_000, 2)
    bins = reliability(labels, np.sqrt(scores))
    assert all(point.high < point.predicted for point in bins)


def test_positives_are_spread_over_bins_and_ties_share_one() -> None:
    labels, scores = _calibrated(40_000, 3)
    positives = [point.observed * point.rows for point in reliability(labels, scores)]
    assert max(positives) < 0.25 * labels.sum()
    assert len(reliability(labels, np.round(scores))) == 2


def test_weights_stand_for_rows_and_widen_intervals() -> None:
    labels, scores = _calibrated(2_000, 4)
    weights = np.where(np.arange(2_000) % 2, 3.0, 1.0)
    repeated = np.repeat(np.arange(2_000), weights.astype(np.int64))
    weighted = reliability(labels, scores, weights)
    plain = reliability(labels[repeated], scores[repeated])
    for one, other in zip(weighted, plain, strict=True):
        assert one.observed == pytest.approx(other.observed)
        assert one.predicted == pytest.approx(other.predicted)
        assert one.high - one.low > other.high - other.low


def test_wilson_s_interval() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    low, high = wilson(0.0, 20)
    assert low == 0
    assert high == pytest.approx(0.1611, abs=1e-4)


def test_differences_are_binned_on_both_sides() -> None:
    original = np.full(4, 0.5)
    moved = np.array([0.5, 0.5005, 0.48, 0.9])
    found = score_differences(original, moved, np.array([5.0, 1.0, 2.0, 2.0]))
    assert sum(found.shares) == pytest.approx(1)
    spread = dict(zip(zip(found.edges, found.edges[1:], strict=False), found.shares, strict=True))
    assert spread[(-0.001, 0.001)] == pytest.approx(0.6)
    assert spread[(-0.03, -0.01)] == pytest.approx(0.2)
    assert spread[(0.3, 1.0)] == pytest.approx(0.2)
    assert found.median == 0
    assert found.p99 == found.largest == pytest.approx(0.4)


def test_no_difference_is_lost_beyond_the_outermost_edge() -> None:
    found = score_differences(np.array([-1.0, 0.0]), np.array([1.0, 0.0]))
    assert found.edges[-1] == 2.0
    assert sum(found.shares) == pytest.approx(1)


def test_the_original_is_not_held_against_itself(rows: Any) -> None:
    scores = {"original": rows.scores, "other": rows.other_scores}
    answers = Answers(rows.labels, scores, dict.fromkeys(scores, 0.5), "original", rows.customer)
    found = evidence_of(answers, tuple(scores), {})
    assert found["original"].differences is None
    assert found["other"].differences is not None
    assert found["other"].segments == ()
