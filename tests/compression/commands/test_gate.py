"""`gate`: what is published, judged again by other bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.__main__ import main
from compression.store import DecisionChanges, Estimate, ModelStore, Publisher, WorstSegment
from tests.support.store import build_store

BAD_RECIPE, NO_STORE, FAILED = 4, 7, 11


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`close` keeps 99.5 % of average precision, 98.5 % in its worst segment, `poor` 90 %."""
    uri = build_store(tmp_path_factory.mktemp("gate"))
    reader, publisher = ModelStore(uri), Publisher(uri)
    for name, kept in (("close", 0.995), ("poor", 0.9)):
        files = reader.load("fraud", name)
        changes = DecisionChanges(
            alert_to_pass=7, pass_to_alert=3, positives_lost=1, positives_gained=0,
            alert_to_pass_share=0.007, pass_to_alert_share=0.003, mcnemar_p=0.34375,
        )  # fmt: skip
        quality = files.manifest.quality.model_copy(
            update={
                "ratios_to_original": {
                    "average_precision": Estimate(value=kept, low=kept - 0.01, high=kept + 0.01),
                    "auc": Estimate(value=0.999, low=0.998, high=1.0),
                },
                "distinct_scores_original": 1000,
                "decision_changes": changes,
                "worst_segment": WorstSegment(
                    dimension="amount", name="up to 10", ratio=kept - 0.01, low=0.5, high=1.0
                ),
            }
        )
        manifest = files.manifest.model_copy(update={"quality": quality})
        publisher.publish_variant(manifest, files.contents, replace=True)
    return uri


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe with the default gate."""
    monkeypatch.setenv("COLUMNS", "160")
    document: dict[str, Any] = {
        "version": 1,
        "model": "fraud",
        "workload": {"name": "fraud"},
        "variants": {"original": {}},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def _gate(recipe: str, store: str, *arguments: str) -> int:
    return main(["gate", "--recipe", recipe, "--store", store, *arguments])


def test_what_meets_the_gate_passes(
    recipe: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _gate(recipe, store, "--variant", "close") == 0
    out = capsys.readouterr().out
    assert "close: passed" in out
    assert "average_precision_ratio_low │ 0.9850 │           0.9800 │ passed" in out
    assert "alert to pass 7, pass to alert 3 of 1,000 rows read (McNemar p 0.344)" in out
    assert "least kept in amount up to 10: 0.9850 (0.500–1.000)" in out


def test_every_variant_is_judged_and_those_that_fail_are_named(
    recipe: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _gate(recipe, store) == FAILED
    captured = capsys.readouterr()
    assert "error: 4 of 5 variants fail the gate: fragile, opposite, poor, slow" in captured.err
    assert "close: passed" in captured.out
    assert "poor: failed" in captured.out
    assert "not measured" in captured.out, "figures that are not there fail"


@pytest.mark.parametrize(
    "bounds",
    [
        ["--preset", "mlperf-99.9"],
        ["--bound", "worst_segment_ratio=0.99"],
        ["--bound", "auc_ratio=0", "--bound", "average_precision_ratio=0.996"],
    ],
)
def test_other_bounds_give_other_verdicts(recipe: str, store: str, bounds: list[str]) -> None:
    before = ModelStore(store).manifest("fraud", "close")
    assert _gate(recipe, store, "--variant", "close", *bounds) == FAILED
    assert ModelStore(store).manifest("fraud", "close") == before


def test_looser_bounds_let_more_pass(recipe: str, store: str) -> None:
    arguments = ["--variant", "poor", "--bound", "average_precision_ratio=0.9"]
    assert _gate(recipe, store, *arguments) == FAILED
    assert _gate(recipe, store, *arguments, "--bound", "average_precision_ratio_low=0.8") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--preset", "lax"], BAD_RECIPE, "no preset 'lax'; allowed: default, mlperf-99.9"),
        (["--bound", "auc=1"], BAD_RECIPE, "no bound 'auc'; allowed: average_precision_ratio,"),
        (["--variant", "ghost"], NO_STORE, "no variant 'ghost'"),
        (["--variant", "original"], FAILED, "nothing to judge"),
    ],
)
def test_what_cannot_be_judged_is_answered(
    recipe: str,
    store: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert _gate(recipe, store, *arguments) == code
    assert message in capsys.readouterr().err


def test_a_bound_is_a_number(recipe: str, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _gate(recipe, store, "--bound", "auc_ratio=high")
    assert "'auc_ratio=high' is not NAME=NUMBER" in capsys.readouterr().err
