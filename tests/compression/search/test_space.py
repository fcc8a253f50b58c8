"""Chains of a space: what follows what, names, students, shares of epochs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from compression.errors import RecipeError
from compression.search.config import AutoConfig
from compression.search.space import Plan, plans
from compression.store.manifest import is_name

SIZES = ({"width": 32}, {"width": 64})


def _plans(space: dict[str, Any] | None = None, **auto: Any) -> dict[str, Plan]:
    config = AutoConfig.model_validate({"space": space, **auto})
    return {plan.name: plan for plan in plans(config, SIZES, "recipe.yaml")}


def test_each_technique_alone_and_followed_by_each_that_ends_in_a_graph() -> None:
    found = _plans(
        {
            "quantize": [{"method": "static"}, {"method": "dynamic"}],
            "prune": [{"remove": 0.3}, {"remove": 0.5}],
        }
    )
    assert list(found) == [
        "original-onnx", "quantize-methodstatic", "quantize-methoddynamic",
        "prune-remove0.3", "prune-remove0.3-quantize-methodstatic",
        "prune-remove0.3-quantize-methoddynamic",
        "prune-remove0.5", "prune-remove0.5-quantize-methodstatic",
        "prune-remove0.5-quantize-methoddynamic",
    ]  # fmt: skip
    last = found["prune-remove0.5-quantize-methoddynamic"]
    assert last.steps == ({"prune": {"remove": 0.5}}, {"quantize": {"method": "dynamic"}})
    assert last.family == "prune-remove0.5"
    assert found["quantize-methodstatic"].family == "quantize-methodstatic"


def test_students_are_the_workload_s_own_or_those_listed() -> None:
    assert list(_plans({"distill": [{}]})) == [
        "original-onnx", "distill-width32", "distill-width64",
    ]  # fmt: skip
    listed = _plans({"distill": [{"epochs": 4}]}, students=[{"width": 16, "heads": 2}])
    assert listed["distill"].steps == (
        {"distill": {"epochs": 4, "student": {"width": 16, "heads": 2}}},
    )
    given = _plans({"distill": [{"student": {"width": 8, "heads": 1}}]})
    assert given["distill"].steps[0]["distill"]["student"] == {"width": 8, "heads": 1}


def test_without_a_space_every_known_technique_of_the_default_is_tried() -> None:
    found = _plans()
    assert {"quantize", "distill-width32", "prune-remove0.5-quantize"} <= set(found)
    assert all(is_name(name) for name in found)
    methods = [step["quantize"] for p in found.values() for step in p.steps if "quantize" in step]
    assert all(o == {"method": "static", "float_layers": "auto"} for o in methods)


def test_long_names_end_in_a_hash_and_stay_apart() -> None:
    rates = [0.001 + n / 1e12 for n in range(2)]
    options = [
        {"learning_rate": rate, "temperature": 2 + rate, "soft_weight": rate, "epochs": 2 + n}
        for n, rate in enumerate(rates)
    ]
    found = _plans({"distill": options, "quantize": [{}]})
    assert len(found) == 2 + 2 * 2 * 2
    assert all(is_name(name) for name in found)


def test_a_share_scales_epochs_and_nothing_else() -> None:
    found = _plans({"distill": [{"epochs": 10, "batch_rows": 64}], "prune": [{"remove": 0.5}]})
    brief = found["distill-width32"].scaled(0.25)
    assert brief.steps == ({"distill": {"epochs": 2, "batch_rows": 64, "student": {"width": 32}}},)
    assert brief.share == 0.25
    assert found["distill-width32"].scaled(1.0).steps == found["distill-width32"].steps
    assert found["prune"].scaled(0.25).steps == ({"prune": {"remove": 0.5}},), "one epoch at least"
    assert found["prune"].trains
    assert not found["original-onnx"].trains


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"shrink": [{}]}, "auto.space: no technique 'shrink'; allowed: distill, .*quantize"),
        ({"prune": [{}, {"remov": 1}]}, r"auto.space.prune\[1\]: unknown key 'remov'; allowed"),
        ({"quantize": [{"method": "magic"}]}, r"auto.space.quantize\[0\]: method: .*magic"),
        ({}, "auto.space has no technique"),
    ],
)
def test_what_cannot_be_searched_is_named(space: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe.yaml: {message}"):
        _plans(space)


@pytest.mark.parametrize("rungs", [[], [0.5], [0, 1], [0.5, 0.5, 1], [1.0, 0.5], [0.5, 2.0]])
def test_rungs_rise_to_all_epochs(rungs: list[float]) -> None:
    with pytest.raises(ValidationError, match="rungs"):
        AutoConfig.model_validate({"rungs": rungs})
