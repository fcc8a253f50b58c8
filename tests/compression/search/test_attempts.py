"""Plans as chains of a recipe: what starts at what."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from compression.search.attempts import chain_configs
from compression.search.space import EXPORTED, Plan

STUDENT: dict[str, Any] = {"distill": {"epochs": 8}}
INT8: dict[str, Any] = {"quantize": {"method": "static"}}

EXPORT = Plan(EXPORTED, ({"onnx": {}},), EXPORTED)
SMALL = Plan("small", (STUDENT,), "small")
SMALL_INT8 = Plan("small-int8", (STUDENT, INT8), "small")
ALONE = Plan("int8", (INT8,), "int8")


@pytest.mark.parametrize("order", list(permutations([EXPORT, SMALL, SMALL_INT8, ALONE])))
def test_what_others_start_at_comes_before_them(order: tuple[Plan, ...]) -> None:
    chains = chain_configs(order)
    names = list(chains)
    assert names[0] == "original"
    assert set(names[1:]) == {plan.name for plan in order}
    assert names.index("small") < names.index("small-int8")
    assert (chains["small-int8"].parent, list(chains["small-int8"].steps)) == ("small", [INT8])
    assert {chains[name].parent for name in (EXPORTED, "small", "int8")} == {"original"}


def test_a_student_of_other_epochs_is_not_started_at() -> None:
    chains = chain_configs([SMALL, SMALL_INT8.scaled(0.5)])
    assert chains["small-int8"].parent == "original"
    assert list(chains["small-int8"].steps) == [{"distill": {"epochs": 4}}, INT8]


def test_a_chain_whose_start_is_not_there_begins_at_the_original() -> None:
    chains = chain_configs([SMALL_INT8])
    assert (chains["small-int8"].parent, list(chains["small-int8"].steps)) == (
        "original", [STUDENT, INT8],
    )  # fmt: skip
