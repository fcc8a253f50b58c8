import numpy as np
import pytest

from compression.quality.ranking import Ranking

LABELS = np.array([False, True, True, False, True, False])
SCORES = np.array([0.9, 0.8, 0.5, 0.5, 0.5, 0.1], np.float32)


def test_counts_at_the_scores_of_positives() -> None:
    ranking = Ranking.of(LABELS, SCORES)
    np.testing.assert_array_equal(ranking.thresholds, np.array([0.8, 0.5], np.float32))
    assert ranking.thresholds.dtype == np.float32
    curve = ranking.curve()
    np.testing.assert_array_equal(curve.true_positives, [1, 3])
    np.testing.assert_array_equal(curve.false_positives, [1, 2])
    np.testing.assert_array_equal(curve.false_positives_above, [1, 1])
    assert (curve.positives, curve.negatives) == (3, 3)


def test_weights_of_one_change_nothing_and_integers_repeat_rows() -> None:
    ranking = Ranking.of(LABELS, SCORES)
    ones = ranking.curve(np.ones(6))
    assert ones.average_precision() == ranking.curve().average_precision()
    times = np.array([2, 0, 1, 3, 1, 1])
    repeated = Ranking.of(np.repeat(LABELS, times), np.repeat(SCORES, times)).curve()
    weighted = ranking.curve(times.astype(np.float64))
    assert weighted.average_precision() == pytest.approx(repeated.average_precision())
    assert weighted.auc() == pytest.approx(repeated.auc())
    assert weighted.recall_at_fpr(0.7) == pytest.approx(repeated.recall_at_fpr(0.7))


def test_a_score_that_lost_all_its_rows_gains_nothing() -> None:
    weights = np.array([0, 0, 1, 1, 1, 1], np.float64)
    curve = Ranking.of(LABELS, SCORES).curve(weights)
    assert curve.average_precision() == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [False, True])
def test_undefined_with_one_class(value: bool) -> None:
    curve = Ranking.of(np.full(4, value), np.arange(4.0)).curve()
    assert np.isnan(curve.auc())
    assert np.isnan(curve.recall_at_fpr(0.1))
    assert np.isnan(curve.average_precision()) == (not value)


def test_rejects_nan_and_other_lengths() -> None:
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        Ranking.of(np.array([True, False]), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="one length"):
        Ranking.of(np.array([True, False]), np.array([0.1]))
