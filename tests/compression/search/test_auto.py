"""A search on tiny data, from recipe to recommendation."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.__main__ import INTERRUPTED, main
from compression.chains import ChainRunner
from compression.recipe import load_recipe
from compression.search import attempts
from compression.search.results import SearchResults
from compression.store import ModelStore
from compression.techniques import TECHNIQUES
from tests.compression.exports import exported_once

MISSED, BAD_RECIPE = 14, 4
TRAINING = {"epochs": 2, "negatives_per_positive": 0.2, "pool_negatives": 1_000}
STUDENTS = [
    {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16},
    {"width": 16, "layers": 1, "heads": 2, "feed_forward": 32},
]


@dataclass(frozen=True)
class Place:
    """A recipe and where its search writes."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def results(self) -> SearchResults:
        return SearchResults.model_validate_json((self.out / "results.json").read_bytes())

    @property
    def store(self) -> ModelStore:
        return ModelStore(str(self.folder / "store"))

    def search(self, *arguments: str) -> int:
        places = ("--store", str(self.folder / "store"), "--work", str(self.folder / "work"))
        recipe = str(self.folder / "recipe.yaml")
        return main(["auto", recipe, *places, "--out", str(self.out), *arguments])


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with exported_once():
        yield


@pytest.fixture(scope="module")
def searched(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A first search, with targets that are easy to meet; paths start at the recipe's folder."""
    place = Place(tmp_path_factory.mktemp("auto"))
    original = os.path.relpath(tiny_settings["original"], place.folder)
    document = {
        "version": 1,
        "model": "fraud",
        "workload": {**tiny_settings, "original": original},
        "test": {"rows": 3000, "replicates": 100},
        "samples": 64,
        "latency_seconds": 0.01,
        "variants": {"original": {}},
        "auto": {
            "targets": {"max_ap_loss": 0.9, "p99_ms": 10_000},
            "students": STUDENTS,
            "space": {"quantize": [{"method": "static"}], "distill": [TRAINING]},
            "rungs": [0.5, 1.0],
            "slice_seconds": 0.005,
        },
    }
    (place.folder / "recipe.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "SLICE_SECONDS", 0.005)
        assert place.search() == 0
    return place


@pytest.fixture
def place(searched: Place, tmp_path: Path) -> Place:
    """A copy of it, to search on."""
    shutil.copytree(searched.folder, tmp_path / "auto")
    recipe = yaml.safe_load((searched.folder / "recipe.yaml").read_text())
    original = searched.folder / recipe["workload"]["original"]
    recipe["workload"]["original"] = str(original.resolve())
    (tmp_path / "auto" / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return Place(tmp_path / "auto")


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of techniques as they run."""
    names: list[str] = []
    for technique in TECHNIQUES.values():

        def traced(*given: Any, name: str = technique.name, apply: Any = technique.apply) -> Any:
            names.append(name)
            return apply(*given)

        monkeypatch.setattr(technique, "apply", traced, raising=False)
    return names


def test_every_chain_was_tried_and_half_of_the_students_for_longer(searched: Place) -> None:
    tried = {one.name: one for one in searched.results.tried}
    assert set(tried) == {
        "original-onnx", "quantize",
        "distill-feed_forward16-width8", "distill-feed_forward16-width8-quantize",
        "distill-feed_forward32-width16", "distill-feed_forward32-width16-quantize",
    }  # fmt: skip
    shares = [one.share_of_epochs for name, one in tried.items() if name.startswith("distill")]
    assert sorted(shares) == [0.5, 0.5, 1.0, 1.0]
    for one in tried.values():
        assert 0 < one.p50_seconds <= one.p99_seconds
        assert one.ap_ratio.low is not None
        assert one.misses == ()
    assert tried["original-onnx"].ap_ratio.value == pytest.approx(1, abs=1e-4)
    assert tried["original-onnx"].times_faster.value == 1.0
    assert searched.results.complete


def test_the_front_is_published_and_nothing_else(searched: Place) -> None:
    results = searched.results
    names = {one.name for one in results.tried if one.on_front}
    assert set(results.front) == names
    assert len(results.front) == len(results.published) >= 2
    assert set(searched.store.variants("fraud")) == names | {"original", "original-onnx"}
    for one in results.published:
        manifest = searched.store.load("fraud", one.name).manifest
        assert one.gate == manifest.gate
        assert one.ap_ratio == manifest.quality.ratios_to_original["average_precision"]
        assert manifest.lineage.recipe_sha256 == results.written_recipe_sha256
        tried = next(t for t in results.tried if t.name == one.name)
        assert manifest.bytes == tried.bytes


def test_the_recommended_variant_is_on_the_front_and_the_reason_says_why(searched: Place) -> None:
    results = searched.results
    assert results.recommended in results.front
    assert results.reason.startswith(f"{results.recommended} on validation rows keeps ")
    assert "On the test rows, read once, it keeps" in results.reason


def test_the_plot_is_there_in_both_forms(searched: Place) -> None:
    assert (searched.out / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (searched.out / "front.svg").read_text()


def test_run_accepts_the_written_recipe_and_finds_everything_done(
    place: Place, applied: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = place.out / "recipe.yaml"
    assert load_recipe(path).sha256 == place.results.written_recipe_sha256
    places = ["--store", str(place.folder / "store"), "--work", str(place.folder / "work")]
    assert main(["run", str(path), *places]) == 0
    assert applied == []
    assert "nothing to do" in capsys.readouterr().err
    other = str(place.folder / "elsewhere")
    assert main(["run", str(path), "--store", other, *places[2:]]) == 0
    made = ModelStore(other)
    for name in place.store.variants("fraud"):
        files = [s.load("fraud", name).manifest.files for s in (made, place.store)]
        assert files[0] == files[1] or name == "original", "a pt2 is a zip, with times in it"


def test_a_second_search_trains_nothing(
    place: Place, applied: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = place.results
    assert place.search() == 0
    assert applied == []
    after = place.results
    assert {one.name for one in after.tried} == {one.name for one in before.tried}
    assert [one.ap_ratio for one in sorted(after.tried, key=lambda one: one.name)] == [
        one.ap_ratio for one in sorted(before.tried, key=lambda one: one.name)
    ]
    out = capsys.readouterr().out
    assert "front: quality against latency against size" in out
    assert f"recommended: {after.recommended} on validation rows" in out


def test_a_budget_that_is_over_compares_what_is_finished_and_names_the_nearest(
    place: Place, applied: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps of the first rung are cached, those of the second are not."""
    _forget_longer_students(place)
    arguments = ("--budget-minutes", "0.0000001", "--max-bytes", "10", "--p99-ms", "1000")
    assert place.search(*arguments) == MISSED
    assert applied == []
    results = place.results
    assert not results.complete
    assert set(results.failed.values()) == {"the time was up"}
    brief = {one.name for one in results.tried if one.share_of_epochs == 0.5}
    assert sum(name.startswith("distill") for name in brief) == 4
    assert set(results.failed) <= brief, "their brief results stand"
    assert results.recommended is None
    assert results.targets == {"max_ap_loss": 0.9, "p99_ms": 1000.0, "max_bytes": 10}
    error = " ".join(capsys.readouterr().err.split())
    assert f"no variant meets the targets; nearest is {results.nearest}, misses bytes" in error
    assert {*results.front} <= set(place.store.variants("fraud"))


def _forget_longer_students(place: Place) -> None:
    """Remove the cached steps of students that saw more rows than those of the first rung."""
    rows_seen = {
        record.parent: json.loads(record.read_text())["notes"][0].get("rows_seen", 0)
        for record in (place.folder / "work" / "steps").glob("*/candidate.json")
    }
    brief = min(rows for rows in rows_seen.values() if rows)
    for folder, rows in rows_seen.items():
        if rows > brief:
            shutil.rmtree(folder)


def test_a_budget_too_small_for_anything_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(place.folder / "work")
    assert place.search("--budget-minutes", "0.0000001") == MISSED
    error = " ".join(capsys.readouterr().err.split())
    assert "was over before the original's own graph was judged (the time was up)" in error
    assert "--budget-minutes more" in error


def test_an_interruption_reaches_the_search(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ChainRunner, "_step", interrupt)
    assert place.search() == INTERRUPTED
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-ap-loss", "2"], "auto: targets.max_ap_loss: .* less than 1"),
        (["--budget-minutes", "0"], "auto: budget_minutes: .* greater than 0"),
    ],
)
def test_impossible_targets_are_refused_at_once(
    place: Place, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert place.search(*arguments) == BAD_RECIPE
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
