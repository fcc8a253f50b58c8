"""A bench over published files: what results.json and results.md hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.__main__ import main
from compression.bench import benchmark
from compression.bench.results import Results
from compression.errors import RecipeError
from compression.recipe import Recipe, check, load_recipe
from compression.store import Manifest, ModelStore
from compression.validation import validate
from tests.support.store import build_store

NAMES = ("original", "close", "poor", "slow")
RECIPES = Path(benchmark.__file__).parents[1] / "recipes"


def _recipe(**bench: Any) -> Recipe:
    document = {
        "version": 1,
        "model": "fraud",
        "workload": {"name": "fraud"},
        "samples": 64,
        "variants": {
            "original": {},
            **{name: {"from": "original", "steps": [{"onnx": {}}]} for name in NAMES[1:]},
        },
        "bench": {"reference": "original", "slice_seconds": 0.002, "rounds": 5, **bench},
    }
    recipe = validate(Recipe, document, "recipe.yaml")
    check(recipe, "recipe.yaml")
    return recipe


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_store(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def published(store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store whose recipe ran already."""

    def run_recipe(recipe: Recipe, *_: Any, replace: bool) -> tuple[Manifest, ...]:
        reader = ModelStore(store)
        return tuple(reader.manifest("fraud", name) for name in recipe.variants)

    monkeypatch.setattr(benchmark, "run_recipe", run_recipe)
    return store


def _bench(recipe: Recipe, store: str, folder: Path) -> Results:
    return benchmark.run_bench(
        recipe, "recipe.yaml", store, folder / "work", folder / "out", replace=False
    )


def test_results_hold_one_entry_for_each_variant(published: str, tmp_path: Path) -> None:
    recipe = _recipe(targets=[{"name": "slower", "variant": "slow", "times_faster": 1.0}])
    results = _bench(recipe, published, tmp_path)
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert Results.model_validate(document) == results
    assert [entry["name"] for entry in document["variants"]] == list(NAMES)
    for entry in document["variants"]:
        manifest = ModelStore(published).manifest("fraud", entry["name"])
        assert entry["bytes"] == manifest.bytes
        assert entry["ap"]["value"] == manifest.quality.metrics["average_precision"].value
        assert set(entry["p50_seconds"]) == set(entry["rows_per_second"]) == {"1", "32"}
        assert 0 < entry["p50_seconds"]["1"] <= entry["p99_seconds"]["1"]
        assert entry["gate"]["verdict"] == manifest.gate.verdict
    assert document["recipe_sha256"] == recipe.sha256
    assert document["machine"]["versions"]["numpy"]
    assert document["machine"]["threads"] == 1
    assert document["rounds"] == 5
    assert document["gate_bounds"]["average_precision_ratio"] == 0.99


def test_a_slow_variant_is_measured_to_be_slow(published: str, tmp_path: Path) -> None:
    recipe = _recipe(targets=[{"name": "slower", "variant": "slow", "times_faster": 1.0}])
    results = _bench(recipe, published, tmp_path)
    by_name = {variant.name: variant for variant in results.variants}
    ratio = by_name["slow"].against_reference.times_faster[1]
    assert ratio.high is not None
    assert ratio.high < 0.7, "it multiplies large matrices, the reference does not"
    itself = by_name["original"].against_reference
    assert itself.times_faster[1].value == itself.times_smaller == 1.0
    (target,) = results.targets
    assert not target.met


def test_the_report_is_markdown_with_every_variant_and_target(
    published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    targets = [
        {"name": "small | quick", "variant": "close", "times_smaller": 0.1, "ap_ratio": 2.0},
        {"name": "best", "choose": "passing", "times_smaller": 0.5},
    ]
    results = _bench(_recipe(targets=targets), published, tmp_path)
    text = (tmp_path / "out" / "results.md").read_text()
    lines = text.splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert sum(line.startswith("| close |") for line in tables) == 2
    assert any("small \\| quick | close | × smaller | ≥ 0.10× |" in line for line in tables)
    assert any(line.endswith("| missed |") and "200.00 %" in line for line in tables)
    assert any(line.startswith("| best |") and line.endswith("| met |") for line in tables)
    assert "5 rounds in which all variants took turns" in text
    monkeypatch.setenv("COLUMNS", "250")
    benchmark.print_results(results)
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
    assert "targets" in out


@pytest.mark.parametrize(
    ("bench", "message"),
    [
        ({"reference": "ghost"}, "bench.reference is 'ghost'.* among the variants: original, "),
        (
            {"targets": [{"name": "t", "variant": "gone"}]},
            r"bench.targets.t.variant is 'gone'",
        ),
        ({"rows": [1, 32, 128]}, "bench.rows has 128, but only 64 rows are published"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    published: str, tmp_path: Path, bench: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        _bench(_recipe(**bench), published, tmp_path)
    assert not (tmp_path / "out").exists()


def test_how_it_is_measured_changes_no_variant() -> None:
    assert _recipe(rounds=5).sha256 == _recipe(rounds=9).sha256


def test_the_shipped_recipe_is_sound() -> None:
    recipe = load_recipe(RECIPES / "fraud-bench.yaml")
    benchmark.check_bench(recipe, "fraud-bench.yaml")
    assert len(recipe.bench.targets) == 4


def test_the_command_prints_and_writes(
    published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {
        "version": 1,
        "model": "fraud",
        "workload": {"name": "fraud"},
        "variants": {"original": {}, "close": {"from": "original", "steps": [{"onnx": {}}]}},
        "bench": {"reference": "close", "slice_seconds": 0.002, "rounds": 5},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    out = tmp_path / "out"
    assert main(["bench", str(path), "--store", published, "--out", str(out)]) == 0
    assert "variants of fraud against close" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "results.md"]
