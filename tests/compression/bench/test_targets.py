"""Targets are computed: which variant, which bounds, met or missed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from compression.bench.config import BenchConfig, TargetConfig
from compression.bench.results import AgainstReference, VariantResult
from compression.bench.targets import judge_target
from compression.store import Estimate, Gate

UNCOMPRESSED = frozenset({"original", "original-onnx"})


def variant(name: str, **figures: Any) -> VariantResult:
    """A result with figures of one's choice; `faster`, `rate` and `smaller` are ratios."""
    faster, rate = (Estimate(value=figures.pop(key, 1.0), low=0.5) for key in ("faster", "rate"))
    ratios = AgainstReference(
        times_smaller=figures.pop("smaller", 1.0),
        times_fewer_flops=figures.pop("flops", 1.0),
        times_faster={1: faster},
        times_the_rate={32: rate},
    )
    defaults: dict[str, Any] = {
        "name": name,
        "family": "distilled",
        "chain": (),
        "bytes": 1000,
        "parameters": 10,
        "flops_per_row": 100,
        "p50_seconds": {1: 0.001, 32: 0.01},
        "p50_seconds_interval": {1: (0.001, 0.002)},
        "p99_seconds": {1: 0.002, 32: 0.02},
        "rows_per_second": {1: 1000, 32: 3200},
        "calls": {1: 9, 32: 9},
        "against_reference": ratios,
        "ap": Estimate(value=0.7, low=0.6, high=0.8),
        "ap_ratio": 1.0,
        "ap_ratio_low": 0.9,
        "ap_ratio_high": 1.1,
        "auc_ratio": 1.0,
        "distinct_scores": 90,
        "distinct_scores_ratio": 0.9,
        "decision_agreement": 0.999,
        "gate": Gate(verdict="passed"),
    }
    return VariantResult.model_validate(defaults | figures)


def test_every_bound_is_judged_on_its_own() -> None:
    target = TargetConfig(
        name="int8", variant="int8", times_smaller=3.5, times_faster=1.8, ap_ratio=0.997
    )
    result = judge_target(
        target, [variant("other"), variant("int8", smaller=3.5, faster=1.7)], UNCOMPRESSED
    )
    assert result.variant == "int8"
    assert {bound.figure: bound.met for bound in result.bounds} == {
        "times_smaller": True, "times_faster": False, "ap_ratio": True,
    }  # fmt: skip
    assert not result.met
    assert result.bounds[1].low == 0.5


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("times_smaller", {"smaller": 2.0}),
        ("times_faster", {"faster": 2.0}),
        ("times_the_rate", {"rate": 2.0}),
        ("times_fewer_flops", {"flops": 2.0}),
        ("ap_ratio", {"ap_ratio": 2.0}),
        ("distinct_scores_ratio", {"distinct_scores_ratio": 2.0}),
    ],
)
def test_each_figure_is_read_from_its_place(figure: str, value: dict[str, float]) -> None:
    for bound, met in ((2.0, True), (2.01, False)):
        target = TargetConfig.model_validate({"name": "t", "variant": "v", figure: bound})
        assert judge_target(target, [variant("v", **value)], UNCOMPRESSED).met is met


def test_the_best_passing_variant_comes_closest_to_all_bounds() -> None:
    target = TargetConfig(name="best", choose="passing", times_smaller=15, times_faster=15)
    failed = Gate(verdict="failed")
    variants = [
        variant("original-onnx", smaller=99, faster=99),
        variant("tiny-but-failed", smaller=200, faster=200, gate=failed),
        variant("small-but-slow", smaller=100, faster=3),
        variant("balanced", smaller=14, faster=16),
    ]
    result = judge_target(target, variants, UNCOMPRESSED)
    assert (result.variant, result.met) == ("balanced", False)
    nobody = judge_target(target, variants[:2], UNCOMPRESSED)
    assert (nobody.variant, nobody.met, nobody.bounds) == (None, False, ())


def test_the_smallest_is_the_one_of_the_fewest_bytes_passed_or_not() -> None:
    target = TargetConfig(name="smallest", choose="smallest", ap_ratio=0.97)
    variants = [
        variant("big"),
        variant("small", bytes=10, ap_ratio=0.98, gate=Gate(verdict="failed")),
        variant("original", bytes=1),
    ]
    result = judge_target(target, variants, UNCOMPRESSED)
    assert (result.variant, result.met) == ("small", True)


@pytest.mark.parametrize("subject", [{}, {"variant": "a", "choose": "passing"}])
def test_a_target_is_of_one_variant(subject: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give either variant: NAME or choose"):
        TargetConfig.model_validate({"name": "t", **subject})


def test_the_judged_batch_sizes_must_be_measured() -> None:
    with pytest.raises(ValidationError, match="must have 1 and 32 among them"):
        BenchConfig(rows=(1, 8))
    with pytest.raises(ValidationError, match="greater than or equal to 5"):
        BenchConfig(rounds=4)
