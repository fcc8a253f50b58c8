from typing import Any

import pytest
from pydantic import ValidationError

from compression.errors import RecipeError
from compression.quality.gate import (
    NOT_MEASURED,
    PRESETS,
    REFERENCE,
    GateConfig,
    config_of,
    judge,
)
from compression.store.manifest import Estimate, Quality, WorstSegment


def _quality(**changes: Any) -> Quality:
    figures: dict[str, Any] = {
        "test": "days 127 to 182",
        "rows": 1000,
        "positives": 10,
        "metrics": {},
        "ratios_to_original": {
            "average_precision": Estimate(value=0.995, low=0.985, high=1.0),
            "auc": Estimate(value=0.999, low=0.998, high=1.0),
        },
        "decision_agreement": 0.998,
        "distinct_scores": 900,
        "distinct_scores_original": 1000,
        "worst_segment": WorstSegment(dimension="amount", name="up to 10", ratio=0.97),
    }
    return Quality(**figures | changes)


def _failed(quality: Quality, config: GateConfig) -> list[str]:
    gate = judge(quality, config)
    failed = [check.name for check in gate.checks if not check.passed]
    assert gate.verdict == ("failed" if failed else "passed")
    return failed


def test_one_check_per_condition() -> None:
    gate = judge(_quality(), GateConfig(decision_agreement=0.99))
    assert gate.verdict == "passed"
    assert {check.name: (check.value, check.bound) for check in gate.checks} == {
        "average_precision_ratio": (0.995, 0.99),
        "average_precision_ratio_low": (0.985, 0.98),
        "auc_ratio": (0.999, 0.995),
        "distinct_scores_ratio": (0.9, 0.5),
        "decision_agreement": (0.998, 0.99),
    }


@pytest.mark.parametrize("name", list(GateConfig.model_fields))
def test_each_bound_can_fail_alone_and_be_left_out(name: str) -> None:
    assert _failed(_quality(), GateConfig(**{name: 1.0})) == [name]
    gate = judge(_quality(), GateConfig(**{name: None}))
    assert name not in {check.name for check in gate.checks}


def test_a_bound_that_is_met_exactly_passes() -> None:
    assert _failed(_quality(), GateConfig(average_precision_ratio=0.995)) == []


def test_presets() -> None:
    assert GateConfig.preset("default") == GateConfig()
    assert set(PRESETS) == {"default", "mlperf-99.9"}
    strict = GateConfig.preset("mlperf-99.9")
    failed = ["average_precision_ratio", "average_precision_ratio_low"]
    assert _failed(_quality(), strict) == failed
    with pytest.raises(RecipeError, match=r"no preset 'lax'; allowed: default, mlperf-99\.9"):
        GateConfig.preset("lax")


def test_nan_fails() -> None:
    broken = Estimate.model_construct(value=float("nan"), low=float("nan"), high=None)
    ratios = {"average_precision": broken, "auc": broken}
    quality = _quality().model_copy(update={"ratios_to_original": ratios})
    gate = judge(quality, GateConfig())
    assert gate.verdict == "failed"
    assert [check.value for check in gate.checks[:3]] == [NOT_MEASURED] * 3


def test_what_is_absent_fails() -> None:
    quality = _quality(
        ratios_to_original={"average_precision": Estimate(value=1.0)},
        distinct_scores_original=None,
        decision_agreement=None,
        worst_segment=None,
    )
    absent = [name for name in GateConfig.model_fields if name != "average_precision_ratio"]
    assert _failed(quality, GateConfig(decision_agreement=0.0, worst_segment_ratio=0.0)) == absent


def test_config_is_closed_and_frozen() -> None:
    with pytest.raises(ValidationError, match="extra"):
        GateConfig.model_validate({"precision": 0.9})
    with pytest.raises(ValidationError, match="finite"):
        GateConfig(auc_ratio=float("nan"))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(GateConfig(), "auc_ratio", 0.0)  # noqa: B010


def test_the_reference_is_not_judged() -> None:
    assert REFERENCE.verdict == "reference"
    assert REFERENCE.checks == ()


def test_bounds_are_changed_one_by_one() -> None:
    recipe = GateConfig(auc_ratio=0.9)
    assert config_of(None, {}, recipe) == recipe
    changed = config_of("mlperf-99.9", {"worst_segment_ratio": 0.95}, recipe)
    assert changed == PRESETS["mlperf-99.9"].model_copy(update={"worst_segment_ratio": 0.95})
    with pytest.raises(RecipeError, match=r"no bound 'auc'; allowed: average_precision_ratio, "):
        config_of(None, {"auc": 0.9}, recipe)
    with pytest.raises(RecipeError, match=r"decision_agreement: .* less than .* \(given: 2\.0\)"):
        config_of(None, {"decision_agreement": 2.0}, recipe)
