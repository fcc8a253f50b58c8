from typing import Any

import numpy as np
import pytest

from compression.errors import DataError, TechniqueError
from compression.quality.assess import assess
from compression.quality.bootstrap import paired_intervals
from compression.quality.metrics import card_precision, expected_calibration_error
from compression.store.manifest import Quality


def _assess(rows: Any, models: dict[str, Any], **changes: Any) -> dict[str, Quality]:
    arguments: dict[str, Any] = {
        "thresholds_by_model": dict.fromkeys(models, 0.8),
        "reference": "original",
        "customer": rows.customer,
        "day": rows.day,
        "test_description": "days 100 to 113, all rows",
        "replicates": 30,
        "seed": 4,
    }
    return assess(rows.labels, models, **arguments | changes)


@pytest.fixture
def models(rows: Any) -> dict[str, Any]:
    coarse = np.round(rows.scores, 1)
    return {"original": rows.scores, "small": rows.other_scores, "coarse": coarse}


def test_has_every_figure_of_the_whole_test(rows: Any, models: dict[str, Any]) -> None:
    small = _assess(rows, models)["small"]
    expected = paired_intervals(
        rows.labels, models, "original", rows.customer, replicates=30, seed=4
    )["small"]
    cards = card_precision(rows.labels, models["small"], rows.customer, rows.day)
    error = expected_calibration_error(rows.labels, models["small"])
    assert small.metrics.keys() == expected.metrics.keys() | {"ece", "card_precision_100"}
    assert {name: small.metrics[name] for name in expected.metrics} == expected.metrics
    assert small.metrics["card_precision_100"].value == cards
    assert small.metrics["ece"].value == error
    assert small.ratios_to_original == expected.ratios
    assert small.ratios_to_parent == {}
    assert (small.rows, small.positives) == (5000, rows.labels.sum())
    assert small.test == "days 100 to 113, all rows"
    assert small.distinct_scores == len(np.unique(models["small"]))
    assert small.distinct_scores_original == len(np.unique(models["original"]))


def test_the_reference_is_related_to_nothing(rows: Any, models: dict[str, Any]) -> None:
    original = _assess(rows, models)["original"]
    assert original.ratios_to_original == {}
    assert original.ratios_to_parent == {}
    assert original.decision_agreement is None
    assert original.distinct_scores_original is None


def test_ratios_to_parents(rows: Any, models: dict[str, Any]) -> None:
    parents = {"small": "original", "coarse": "small"}
    result = _assess(rows, models, parents=parents)
    assert result["small"].ratios_to_parent == result["small"].ratios_to_original
    to_small = _assess(rows, models, reference="small")["coarse"].ratios_to_original
    assert result["coarse"].ratios_to_parent == to_small


def test_agreement_uses_own_thresholds_and_weights(rows: Any, models: dict[str, Any]) -> None:
    thresholds = {"original": 0.8, "small": 0.7}
    alike = (models["original"] >= 0.8) == (models["small"] >= 0.7)
    result = _assess(rows, models, thresholds_by_model=thresholds)
    assert result["small"].decision_agreement == pytest.approx(alike.mean())
    assert result["coarse"].decision_agreement is None
    weights = np.where(rows.labels, 1.0, 9.0)
    weighted = _assess(rows, models, thresholds_by_model=thresholds, weights=weights)
    expected = (alike * weights).sum() / weights.sum()
    assert weighted["small"].decision_agreement == pytest.approx(expected)
    nothing = _assess(rows, models, thresholds_by_model={"small": 0.7})
    assert nothing["small"].decision_agreement is None


def test_a_sample_has_no_card_precision(rows: Any, models: dict[str, Any]) -> None:
    weights = np.where(rows.labels, 1.0, 9.0)
    metrics = _assess(rows, models, weights=weights)["small"].metrics
    assert "card_precision_100" not in metrics
    error = expected_calibration_error(rows.labels, models["small"], weights)
    assert metrics["ece"].value == error


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_name_the_model(
    rows: Any, models: dict[str, Any], value: float
) -> None:
    broken = rows.scores.copy()
    broken[:3] = value
    with pytest.raises(TechniqueError, match="coarse: 3 of 5000 scores are not finite"):
        _assess(rows, models | {"coarse": broken})


def test_scores_must_be_one_per_row(rows: Any, models: dict[str, Any]) -> None:
    with pytest.raises(TechniqueError, match=r"small: \(7,\) scores for \(5000,\) rows"):
        _assess(rows, models | {"small": rows.scores[:7]})


@pytest.mark.parametrize("value", [False, True])
def test_needs_both_classes(value: bool) -> None:
    ones = np.ones(4, np.int32)
    with pytest.raises(DataError, match="positives and negatives"):
        assess(np.full(4, value), {"m": np.ones(4)}, {}, "m", ones, ones, test_description="none")
