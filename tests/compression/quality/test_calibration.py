from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from compression.quality.calibration import (
    MINIMUM_SLOPE,
    alert_rate,
    best_f1_threshold,
    fit_platt,
    threshold_for_alert_rate,
)
from compression.quality.metrics import expected_calibration_error


def _sigmoid(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits))


def test_platt_finds_what_made_the_labels() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(2, 3, 200_000)
    labels = generator.random(200_000) < _sigmoid(0.7 * logits - 4)
    slope, intercept = fit_platt(labels, logits)
    assert slope == pytest.approx(0.7, abs=0.02)
    assert intercept == pytest.approx(-4, abs=0.06)
    assert expected_calibration_error(labels, _sigmoid(slope * logits + intercept)) < 0.003


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_platt_agrees_with_logistic_regression(rows: Any, scale: float) -> None:
    weights = np.random.default_rng(1).uniform(1, 50, len(rows.labels))
    slope, intercept = fit_platt(rows.labels, rows.logits * scale, weights)
    model = LogisticRegression(C=np.inf, tol=1e-10)
    model.fit(rows.logits[:, None], rows.labels, weights)
    assert slope * scale == pytest.approx(model.coef_[0, 0], rel=2e-3)
    assert intercept == pytest.approx(model.intercept_[0], rel=2e-3)


def test_platt_undoes_down_sampling(rows: Any) -> None:
    kept = rows.labels | (np.random.default_rng(1).random(len(rows.labels)) < 0.2)
    weights = np.where(rows.labels[kept], 1.0, 5.0)
    whole = fit_platt(rows.labels, rows.logits)
    assert fit_platt(rows.labels[kept], rows.logits[kept], weights) == pytest.approx(whole, 0.1)


def test_platt_stays_finite_when_classes_are_separable() -> None:
    logits = np.concatenate((np.linspace(-9, -5, 50), np.linspace(5, 9, 50)))
    slope, intercept = fit_platt(logits > 0, logits)
    assert 0 < slope < 10
    assert np.isfinite(intercept)


def test_platt_never_reverses_the_order(rows: Any) -> None:
    slope, intercept = fit_platt(rows.labels, -100 * rows.logits)
    assert slope == pytest.approx(MINIMUM_SLOPE)
    mean = _sigmoid(slope * -100 * rows.logits + intercept).mean()
    assert mean == pytest.approx(rows.labels.mean(), rel=0.02)
    assert fit_platt(rows.labels, np.zeros(len(rows.labels)))[0] == pytest.approx(MINIMUM_SLOPE)


def test_platt_is_in_units_of_the_logits_wherever_they_start() -> None:
    logits = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    labels = np.array([False, False, True, False, True, True])
    slope, intercept = fit_platt(labels, logits)
    moved, moved_intercept = fit_platt(labels, logits + 1000)
    assert moved == pytest.approx(slope, rel=1e-5)
    assert moved_intercept == pytest.approx(intercept - 1000 * slope, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "logits"),
    [([True, True], [0.0, 1.0]), ([False, False], [0.0, 1.0]), ([True, False], [np.inf, 0.0])],
)
def test_platt_needs_both_classes_and_finite_logits(
    labels: list[bool], logits: list[float]
) -> None:
    with pytest.raises(ValueError, match="needs finite logits"):
        fit_platt(np.array(labels), np.array(logits))


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.5, 1.0])
def test_threshold_gives_the_rate_wanted(rows: Any, rate: float) -> None:
    threshold = threshold_for_alert_rate(rows.scores, rate)
    assert alert_rate(rows.scores, threshold) == pytest.approx(rate, abs=1e-4)
    weights = np.where(rows.labels, 1.0, 7.0)
    threshold = threshold_for_alert_rate(rows.scores, rate, weights)
    assert alert_rate(rows.scores, threshold, weights) == pytest.approx(rate, abs=2e-4)


def test_threshold_takes_the_nearest_rate_there_is() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1], np.float32)
    assert threshold_for_alert_rate(scores, 0.45) == pytest.approx(0.9)
    assert threshold_for_alert_rate(scores, 0.55) == pytest.approx(0.5)
    assert alert_rate(scores, threshold_for_alert_rate(scores, 0.09)) == 0
    with pytest.raises(ValueError, match="needs scores"):
        threshold_for_alert_rate(scores[:0], 0.5)


def test_threshold_is_exact_in_the_scores_precision(rows: Any) -> None:
    for threshold in (
        threshold_for_alert_rate(rows.scores, 0.01),
        threshold_for_alert_rate(rows.scores, 0.0),
        best_f1_threshold(rows.labels, rows.scores),
    ):
        assert float(np.float32(threshold)) == threshold


def test_alert_rate_without_rows() -> None:
    assert np.isnan(alert_rate(np.zeros(0), 0.5))


def test_best_f1_beats_every_other_threshold(rows: Any) -> None:
    scores = np.round(rows.scores, 2)
    weights = np.random.default_rng(1).uniform(1, 3, len(scores))
    best = best_f1_threshold(rows.labels, scores, weights)
    every = {
        float(threshold): f1_score(rows.labels, scores >= threshold, sample_weight=weights)
        for threshold in np.unique(scores)
    }
    assert every[best] == pytest.approx(max(every.values()))


def test_best_f1_needs_positives() -> None:
    with pytest.raises(ValueError, match="needs positives"):
        best_f1_threshold(np.zeros(3, np.bool_), np.arange(3.0))
