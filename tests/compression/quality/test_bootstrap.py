from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from compression.quality.bootstrap import RANK_METRICS, paired_intervals, replicate
from compression.store.manifest import Estimate


def _width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_values_are_the_metrics_and_lie_in_their_intervals(rows: Any) -> None:
    models = {"original": rows.scores, "small": rows.other_scores}
    result = paired_intervals(
        rows.labels, models, "original", rows.customer, replicates=200, seed=1
    )
    for name, scores in models.items():
        metrics = result[name].metrics
        assert tuple(metrics) == RANK_METRICS
        precision = average_precision_score(rows.labels, scores)
        assert metrics["average_precision"].value == pytest.approx(precision)
        assert metrics["auc"].value == pytest.approx(roc_auc_score(rows.labels, scores))
        for estimate in (*metrics.values(), *result[name].ratios.values()):
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= estimate.value <= estimate.high
    for ratio in result["original"].ratios.values():
        assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)


def test_pairing_makes_ratios_sharper(rows: Any) -> None:
    models = {"original": rows.scores, "small": rows.other_scores}
    small = paired_intervals(rows.labels, models, "original", rows.customer, seed=2)["small"]
    metric, ratio = small.metrics["average_precision"], small.ratios["average_precision"]
    assert _width(ratio) < 0.6 * _width(metric) / metric.value


def test_a_draw_repeats_whole_customers(rows: Any) -> None:
    drawn = replicate(rows.labels, {"m": rows.scores}, rows.customer, replicates=1, seed=5)
    names = np.unique(rows.customer)
    picked = names[np.random.default_rng(5).integers(0, len(names), len(names))]
    index = np.concatenate([np.flatnonzero(rows.customer == name) for name in picked])
    expected = average_precision_score(rows.labels[index], rows.scores[index])
    assert drawn["m"].draws[0, 0] == pytest.approx(expected)


def test_seed_decides_and_the_other_models_do_not(rows: Any) -> None:
    alone = replicate(rows.labels, {"m": rows.scores}, rows.customer, replicates=5, seed=5)
    models = {"n": rows.other_scores, "m": rows.scores}
    beside = replicate(rows.labels, models, rows.customer, replicates=5, seed=5)
    np.testing.assert_array_equal(alone["m"].draws, beside["m"].draws)
    other = replicate(rows.labels, {"m": rows.scores}, rows.customer, replicates=5, seed=6)
    assert (alone["m"].draws != other["m"].draws).all()


def test_weights_multiply_the_draws(rows: Any) -> None:
    times = np.where(rows.labels, 1, 3)
    repeated = (np.repeat(array, times) for array in (rows.labels, rows.scores, rows.customer))
    labels, scores, customer = repeated
    expected = replicate(labels, {"m": scores}, customer, replicates=5, seed=5)
    weighted = replicate(
        rows.labels,
        {"m": rows.scores},
        rows.customer,
        times.astype(np.float64),
        replicates=5,
        seed=5,
    )
    np.testing.assert_allclose(weighted["m"].draws, expected["m"].draws)
    np.testing.assert_allclose(weighted["m"].values, expected["m"].values)


def test_intervals_cover_the_truth(drawn: Callable[..., Any]) -> None:
    """Of 95 % intervals on 60 data sets, more than 83 % cover; fewer would be 2 in 10,000."""
    everything = drawn(400_000, seed=99)
    truth = average_precision_score(everything.labels, everything.logits)
    ratio_truth = average_precision_score(everything.labels, everything.others) / truth
    covered = np.zeros(2)
    for seed in range(60):
        rows = drawn(6000, seed=seed)
        models = {"a": rows.logits, "b": rows.others}
        result = paired_intervals(
            rows.labels, models, "a", rows.customer, replicates=200, seed=seed
        )
        estimates = (
            (result["a"].metrics["average_precision"], truth),
            (result["b"].ratios["average_precision"], ratio_truth),
        )
        for i, (estimate, value) in enumerate(estimates):
            assert estimate.low is not None
            assert estimate.high is not None
            covered[i] += estimate.low <= value <= estimate.high
    assert (covered >= 50).all()


def test_draws_without_positives_are_left_out() -> None:
    labels = np.array([True, False, False, False])
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    drawn = replicate(labels, {"m": scores}, np.arange(4), replicates=100, seed=0)["m"]
    assert np.isnan(drawn.draws[:, 0]).any()
    assert drawn.estimates()["average_precision"].value == 1


def test_undefined_ratios_are_left_out() -> None:
    labels = np.array([True, False] * 10)
    models = {"worst": np.where(labels, 0.1, 0.9), "best": np.where(labels, 0.9, 0.1)}
    result = paired_intervals(labels, models, "worst", np.arange(20), replicates=20, seed=0)
    assert "recall_at_fpr_1pct" in result["best"].metrics
    assert set(result["best"].ratios) == {"average_precision"}
