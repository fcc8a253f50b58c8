from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.errors import RecipeError
from compression.quality.gate import GateConfig
from compression.recipe import ORIGINAL, Recipe, check, load_recipe, parsed_steps
from compression.validation import validate

SHIPPED = sorted((Path(__file__).parents[2] / "compression" / "recipes").glob("*.yaml"))
STUDENT = {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "model": "fraud",
    "workload": {"name": "fraud"},
    "variants": {
        "original": {},
        "int8": {"from": "original", "steps": [{"quantize": {"method": "static"}}]},
        "student": {"from": "original", "steps": [{"distill": {"student": STUDENT}}]},
        "student-int8": {"from": "student", "steps": [{"quantize": None}]},
    },
    "baselines": {"alone": {"steps": [{"train": {"student": STUDENT}}]}},
}

Change = Callable[[dict[str, Any]], object]


def _write(folder: Path, change: Change = lambda document: None) -> Path:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _variant(**chain: Any) -> Change:
    """A further variant `small`."""
    chain = {"from" if key == "parent" else key: value for key, value in chain.items()}
    return lambda document: document["variants"].update(small=chain)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_parse(path: Path) -> None:
    recipe = load_recipe(path)
    assert next(iter(recipe.variants)) == ORIGINAL
    assert recipe.gate_config == GateConfig()


def test_there_are_shipped_recipes() -> None:
    assert {path.stem for path in SHIPPED} >= {"fraud-demo"}


def test_a_recipe_has_chains_with_parents_before_children(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path))
    assert list(recipe.chains()) == ["original", "int8", "student", "student-int8", "alone"]
    assert recipe.variants["student-int8"].parent == "student"
    ((technique, options),) = parsed_steps("recipe.yaml", "int8", recipe.variants["int8"])
    assert technique.name == "quantize"
    assert options.model_dump()["method"] == "static"


def test_defaults_are_the_careful_ones(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path))
    assert recipe.champion == "original"
    assert (recipe.test.rows, recipe.validation.negatives) == (None, None)
    assert recipe.profile == "full"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.update(varaints={}),
            r"unknown key 'varaints'; allowed here: .*baselines, bench, champion, .*variants",
        ),
        (
            lambda d: d["variants"]["int8"].update(parent="original"),
            r"unknown key 'variants\.int8\.parent'; allowed here: description, from, steps",
        ),
        (
            lambda d: d.update(test={"row": 5}),
            r"unknown key 'test\.row'; allowed here: replicates, rows",
        ),
        (
            lambda d: d["workload"].update(colour="red"),
            r"workload: unknown key 'colour'; allowed here: columns, data, .*simulator, split",
        ),
        (
            lambda d: d["workload"].update(simulator={"customer": 5}),
            r"workload: unknown key 'simulator\.customer'; allowed here: customers, days, ",
        ),
        (
            lambda d: d.update(gate={"auc": 1}),
            r"gate: unknown key 'auc'; allowed here: auc_ratio, average_precision_ratio, ",
        ),
        (
            _variant(parent="original", steps=[{"quantise": {}}]),
            r"small\.steps\[0\]: no technique 'quantise'; "
            r"allowed: distill, factorize, import, onnx, prune, quantize, sparsify, train",
        ),
        (
            _variant(parent="original", steps=[{"quantize": {"bit": 4}}]),
            r"small\.steps\[0\]\.quantize: unknown key 'bit'; allowed here: batch_rows, bits, ",
        ),
        (
            _variant(parent="original", steps=[{"quantize": {"method": "static", "bits": 4}}]),
            r"small\.steps\[0\]\.quantize: .* of no effect here, leave it out: bits; what counts",
        ),
        (
            _variant(parent="original", steps=[{"quantize": {"method": "magic"}}]),
            r"small\.steps\[0\]\.quantize: method: .*'dynamic', .* \(given: 'magic'\)",
        ),
        (
            _variant(parent="original", steps=[{"prune": {"remove": 1}}]),
            r"small\.steps\[0\]\.prune: remove: .*less than 1 \(given: 1\)",
        ),
        (
            _variant(parent="original", steps=[{"prune": {"target": {"latency": 1}}}]),
            r"prune: unknown key 'target\.latency'; "
            r"allowed here: bytes, flops, parameters, speedup",
        ),
        (
            _variant(parent="original", steps=[{"prune": {"target": {}}}]),
            r"prune: target: .*at least one of speedup, bytes, parameters, flops",
        ),
        (
            _variant(parent="original", steps=[{"sparsify": {"pattern": "4:2"}}]),
            r"sparsify: .*N:M with N < M",
        ),
        (
            _variant(parent="original", steps=[{"prune": {}, "onnx": {}}]),
            r"small\.steps\[0\] must name one technique, it has \['onnx', 'prune'\]",
        ),
        (
            _variant(parent="original", steps=[{}]),
            r"small\.steps\[0\] must name one technique",
        ),
        (
            _variant(parent="original", steps=[{"distill": {"student": {"depth": 3}}}]),
            r"small: distill\.student: unknown key 'depth'; "
            r"allowed here: architecture, feed_forward, head_width, "
            r"heads, layers, recent_rows, width",
        ),
        (
            _variant(parent="original", steps=[{"train": {"student": {"width": 30}}}]),
            r"small: train\.student: .*width 30 must be a multiple of heads 4",
        ),
    ],
)
def test_an_unknown_key_or_value_is_named_with_what_is_allowed(
    tmp_path: Path, change: Change, message: str
) -> None:
    path = _write(tmp_path, change)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _variant(parent="ghost", steps=[{"onnx": {}}]),
            r"small\.from is 'ghost', which is not defined before it; "
            r"allowed: original, int8, student, student-int8",
        ),
        (
            lambda d: d["variants"].update({"int8": {"from": "student", "steps": []}}),
            r"int8\.from is 'student', which is not defined before it; allowed: original",
        ),
        (_variant(steps=[{"onnx": {}}]), "small needs `from`: the variant its chain starts at"),
        (
            _variant(parent="small", steps=[]),
            r"small\.from is 'small', which is not defined before it",
        ),
        (
            _variant(parent="original", steps=[{"quantize": {}}, {"prune": {}}]),
            "small: prune cannot follow a technique that ends in a graph",
        ),
        (
            _variant(parent="int8", steps=[{"prune": {}}]),
            "small: prune cannot follow a technique that ends in a graph",
        ),
        (
            _variant(parent="original", steps=[{"onnx": {}}, {"quantize": {}}]),
            "small: quantize cannot follow a technique that ends in a graph",
        ),
        (
            _variant(parent="int8", steps=[{"onnx": {}}]),
            "small: onnx cannot follow a technique that ends in a graph",
        ),
        (
            lambda d: d["variants"].update(original={"steps": [{"onnx": {}}]}),
            "variants must have 'original' with no steps",
        ),
        (lambda d: d["variants"].pop("original"), "variants must have 'original'"),
        (
            lambda d: d.update(champion="best"),
            "champion 'best' is not among the variants: original, int8, student, student-int8",
        ),
        (
            lambda d: d["baselines"].update(student={"steps": [{"train": {}}]}),
            "student: a name of both a variant and a baseline",
        ),
        (
            lambda d: d["baselines"].update({"gradient-boosting": {"steps": [{"train": {}}]}}),
            "gradient-boosting is the name of the workload's own baseline",
        ),
        (
            lambda d: d["workload"].update(name="ads"),
            "workload.name is 'ads'; allowed: fraud, ver.*, or path/to/f",
        ),
        (lambda d: d.update(workload={}), "workload.name is None; allowed: fraud"),
        (lambda d: d.update(workload={"name": ["fraud"]}), r"workload.name is \['fraud'\]"),
        (lambda d: d.update(gate="strict"), "no preset 'strict'; allowed: default, mlperf-99.9"),
        (lambda d: d.update(gate={"auc_ratio": "high"}), "gate: auc_ratio: .*given: 'high'"),
        (lambda d: d.update(version=2), r"version: Input should be 1 \(given: 2\)"),
        (lambda d: d.pop("version"), "version: Field required$"),
        (lambda d: d.pop("variants"), "variants: Field required"),
        (lambda d: d.update(variants=[]), "variants: .*dictionary"),
        (lambda d: d.update(model="../fraud"), r"model: .*'\.\./fraud' is not a name"),
        (lambda d: d["variants"].update({"a b": {}}), "'a b' is not a name"),
        (lambda d: d.update(latency_rows=[]), "latency_rows: .*at least 1"),
        (lambda d: d.update(latency_rows=[1, 0]), "latency_rows.1: .*greater than 0"),
        (lambda d: d.update(samples=5), "samples: .*greater than or equal to 32"),
        (lambda d: d.update(seed=-1), "seed: .*greater than or equal to 0"),
        (
            lambda d: d["workload"].update(split={"train_days": [43, 110]}),
            "workload: split: .*validation_days begins on day 106, before the labels",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_trained(
    tmp_path: Path, change: Change, message: str
) -> None:
    path = _write(tmp_path, change)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"variants: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
        (b"- a\n- b\n", "must be a mapping with version, model, workload, variants"),
        (b"", "must be a mapping"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=f"cannot read recipe {tmp_path / name}: "):
        load_recipe(tmp_path / name)


def test_a_gate_is_a_preset_or_bounds_of_one_s_own(tmp_path: Path) -> None:
    preset = load_recipe(_write(tmp_path, lambda d: d.update(gate="mlperf-99.9")))
    assert preset.gate_config.average_precision_ratio == 0.999
    own = load_recipe(_write(tmp_path, lambda d: d.update(gate={"auc_ratio": 0.9})))
    assert own.gate_config == GateConfig(auc_ratio=0.9)


def test_the_hash_is_of_everything_the_recipe_says(tmp_path: Path) -> None:
    def hashed(change: Change = lambda document: None) -> str:
        return load_recipe(_write(tmp_path, change)).sha256

    assert hashed() == hashed(lambda d: d.update(seed=0)), "a default said aloud says nothing new"
    changes: list[Change] = [
        lambda d: d.update(seed=1),
        lambda d: d.update(gate="mlperf-99.9"),
        lambda d: d["workload"].update(simulator={"seed": 3}),
        lambda d: d["variants"]["int8"]["steps"][0].update(quantize={"method": "dynamic"}),
    ]
    assert len({hashed(), *(hashed(change) for change in changes)}) == 1 + len(changes)


def test_recipes_do_not_change(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
    assert isinstance(recipe, Recipe)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"from": "original", "steps": [{"import": {"file": "x.onnx"}}]}, "leave `from` out"),
        (
            {"from": "original", "steps": [{"onnx": {}}, {"import": {"file": "x.onnx"}}]},
            "import starts a chain, it must be the first step",
        ),
        (
            {"steps": [{"import": {"file": "x.onnx"}}, {"quantize": {}}]},
            "quantize cannot follow a technique that ends in a graph",
        ),
        ({"steps": [{"import": {}}]}, "file: Field required"),
    ],
)
def test_an_import_starts_a_chain_and_ends_it(variant: dict[str, Any], message: str) -> None:
    document = {
        "version": 1,
        "model": "fraud",
        "workload": {"name": "fraud"},
        "variants": {"original": {}, "theirs": variant},
    }
    with pytest.raises(RecipeError, match=message):
        check(validate(Recipe, document, "recipe.yaml"), "recipe.yaml")
