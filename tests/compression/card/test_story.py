"""What got worse is said, and only that."""

from __future__ import annotations

from typing import Any

import pytest

from compression.card.story import headline, losses, single_row
from compression.store import (
    DecisionChanges,
    Estimate,
    Gate,
    GateCheck,
    Manifest,
    ModelStore,
    VariantEvidence,
)


@pytest.fixture
def original(bare_store: ModelStore) -> Manifest:
    manifest = bare_store.manifest("fraud", "original")
    metrics = {
        "average_precision": Estimate(value=0.8, low=0.78, high=0.82),
        "auc": Estimate(value=0.95),
        "ece": Estimate(value=0.001),
    }
    return _with(manifest, metrics=metrics)


def _with(manifest: Manifest, **quality: Any) -> Manifest:
    changed = manifest.quality.model_copy(update=quality)
    return manifest.model_copy(update={"quality": changed})


def _variant(original: Manifest, **quality: Any) -> Manifest:
    gate = Gate(verdict="passed")
    return _with(original, **quality).model_copy(update={"name": "small", "gate": gate})


def _metrics(**values: float) -> dict[str, Estimate]:
    return {name: Estimate(value=value) for name, value in values.items()}


def test_nothing_is_said_of_what_is_as_good(original: Manifest) -> None:
    better = _metrics(average_precision=0.81, auc=0.95, ece=0.0005)
    same = DecisionChanges(
        alert_to_pass=0, pass_to_alert=0, positives_lost=0, positives_gained=0,
        alert_to_pass_share=0.0, pass_to_alert_share=0.0, mcnemar_p=1.0,
    )  # fmt: skip
    assert losses(_variant(original, metrics=better, decision_changes=same), original, None) == ()


@pytest.mark.parametrize(
    ("high", "said"), [(0.99, "more than chance explains"), (1.01, "cannot tell from none")]
)
def test_a_loss_comes_with_its_interval_and_whether_chance_explains_it(
    original: Manifest, high: float, said: str
) -> None:
    worse = _metrics(average_precision=0.76, auc=0.95, ece=0.002)
    ratios = {"average_precision": Estimate(value=0.95, low=0.93, high=high)}
    precision, calibration = losses(
        _variant(original, metrics=worse, ratios_to_original=ratios), original, None
    )
    assert precision.startswith("Average precision fell from 0.8000 to 0.7600: it keeps 95.00 %")
    assert f"(0.930–{high:.3f})" in precision
    assert said in precision
    assert calibration == "Calibration error rose from 0.0010 to 0.0020."


def test_failed_checks_come_first(original: Manifest) -> None:
    checks = (
        GateCheck(name="auc_ratio", value=0.9, bound=0.995, passed=False),
        GateCheck(name="average_precision_ratio", value=1.0, bound=0.99, passed=True),
    )
    failed = _variant(original).model_copy(update={"gate": Gate(verdict="failed", checks=checks)})
    assert losses(failed, original, None) == (
        "The gate's auc ratio is 0.9000, it must be at least 0.9950.",
    )


def test_decisions_that_changed_are_told_with_what_they_cost(original: Manifest) -> None:
    changes = DecisionChanges(
        alert_to_pass=20, pass_to_alert=4, positives_lost=9, positives_gained=2,
        alert_to_pass_share=0.002, pass_to_alert_share=0.001, mcnemar_p=0.0015,
    )  # fmt: skip
    share, positives, direction = losses(
        _variant(original, decision_changes=changes), original, None
    )
    assert share.startswith("0.30 % of decisions differ: among the rows read 20 alerts became")
    assert positives.startswith("It loses 9 positives that the original finds, and finds 2")
    assert "laxer" in direction
    stricter = changes.model_copy(update={"alert_to_pass": 4, "pass_to_alert": 20})
    assert "stricter" in losses(_variant(original, decision_changes=stricter), original, None)[-1]


def test_segments_that_are_clearly_worse_are_listed_worst_first(judged_store: ModelStore) -> None:
    evidence = judged_store.evidence("fraud")
    assert evidence is not None
    original, poor = (judged_store.manifest("fraud", name) for name in ("original", "poor"))
    own: VariantEvidence = evidence.variants["poor"]
    (sentence,) = (s for s in losses(poor, original, own) if "by more than chance explains" in s)
    ratios = {
        f"{s.dimension} {s.name}": s.average_precision_ratio.value
        for s in own.segments
        if s.average_precision_ratio and (s.average_precision_ratio.high or 1) < 1
    }
    told = sorted(ratios, key=sentence.index)
    assert told == sorted(ratios, key=lambda name: ratios[name])


def test_slower_larger_and_coarser_are_losses(original: Manifest) -> None:
    slow = original.latency.by_rows[0].model_copy(update={"p50_seconds": 2e-5})
    variant = _variant(original, distinct_scores=5).model_copy(
        update={
            "latency": original.latency.model_copy(update={"by_rows": (slow,)}),
            "files": (original.files[0].model_copy(update={"bytes": original.bytes + 5000}),),
        }
    )
    coarser, slower, larger = losses(variant, original, None)
    assert coarser.startswith("Distinct scores fell from 900 to 5")
    assert slower == "One row takes 0.020 ms instead of 0.010 ms."
    assert larger.startswith("Its files grew from")
    assert single_row(variant) == 2e-5


def test_the_headline_names_those_that_failed(original: Manifest) -> None:
    passed = _variant(original)
    failed = passed.model_copy(update={"name": "tiny", "gate": Gate(verdict="failed")})
    assert headline([original, passed]) == "1 of 1 variants passed the quality gate."
    assert headline([original, passed, failed]).endswith("passed the quality gate; failed: tiny.")
    assert headline([original]) == "The original alone: there is no variant to judge."
