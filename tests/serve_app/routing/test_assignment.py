from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.routing.assignment import Assignment, unit_hash
from serve_app.routing.table import RoutingTable, Shadow

KEYS = [f"customer-{number}" for number in range(20_000)]


def assignment(
    weights: dict[str, float], salt: str = "s", experiment: str = "e", shadow: float = 0.0
) -> Assignment:
    table = RoutingTable(
        version=1,
        model="fraud",
        experiment=experiment,
        salt=salt,
        weights=weights,
        shadow=Shadow(variant="b", sample_rate=shadow) if shadow else None,
    )
    return Assignment(table, "original")


def given_to(
    weights: dict[str, float], variant: str, salt: str = "s", experiment: str = "e"
) -> set[str]:
    made = assignment(weights, salt, experiment)
    return {key for key in KEYS if made.assign(key).variant == variant}


def test_shares_follow_the_weights() -> None:
    made = assignment({"original": 0.7, "b": 0.2, "c": 0.1})
    counts = Counter(made.assign(key).variant for key in KEYS)
    for variant, weight in {"original": 0.7, "b": 0.2, "c": 0.1}.items():
        assert counts[variant] / len(KEYS) == pytest.approx(weight, abs=0.01)


def test_growing_a_challenger_keeps_those_it_had() -> None:
    before = given_to({"original": 0.95, "b": 0.05}, "b")
    after = given_to({"b": 0.10, "original": 0.90}, "b")
    assert before < after
    assert len(after) == pytest.approx(2 * len(before), rel=0.1)


@given(
    small=st.floats(0.0, 0.4),
    growth=st.floats(0.0, 0.2),
    earlier=st.floats(0.0, 0.3),
    key=st.text(),
)
def test_growth_at_the_champions_cost_never_takes_a_caller_away(
    small: float, growth: float, earlier: float, key: str
) -> None:
    before = assignment({"a": earlier, "b": small, "original": 1 - earlier - small})
    after = assignment(
        {"original": 1 - earlier - small - growth, "b": small + growth, "a": earlier}
    )
    if before.assign(key).variant == "b":
        assert after.assign(key).variant == "b"


def test_the_order_in_the_document_does_not_matter() -> None:
    left = assignment({"original": 0.5, "b": 0.3, "c": 0.2})
    right = assignment({"c": 0.2, "original": 0.5, "b": 0.3})
    assert all(left.assign(key) == right.assign(key) for key in KEYS[:500])


@pytest.mark.parametrize("other", [{"salt": "t"}, {"experiment": "f"}])
def test_another_salt_or_experiment_deals_anew(other: dict[str, str]) -> None:
    weights = {"original": 0.5, "b": 0.5}
    kept = len(given_to(weights, "b") & given_to(weights, "b", **other)) / len(KEYS)
    assert kept == pytest.approx(0.25, abs=0.02)


def test_without_a_key_it_is_random_and_says_so() -> None:
    made = assignment({"original": 0.5, "b": 0.5})
    answers = [made.assign(None) for _ in range(400)]
    assert {answer.why for answer in answers} == {"random"}
    assert {answer.variant for answer in answers} == {"original", "b"}
    assert made.assign("x").why == "weight"


def test_a_variant_of_weight_zero_gets_nobody() -> None:
    assert given_to({"original": 1.0, "b": 0.0}, "b") == set()


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert unit_hash(b"s\0e\0", "customer-1") == 0.9857933330442411


def test_the_shadows_sample_is_sticky_and_independent_of_the_assignment() -> None:
    made = assignment({"original": 0.5, "b": 0.5}, shadow=0.1)
    sample = {key for key in KEYS if made.shadowed(key)}
    assert len(sample) / len(KEYS) == pytest.approx(0.1, abs=0.01)
    assert sample == {key for key in KEYS if made.shadowed(key)}
    in_b = sum(made.assign(key).variant == "b" for key in sample) / len(sample)
    assert in_b == pytest.approx(0.5, abs=0.05)


def test_without_a_shadow_nothing_is_shadowed() -> None:
    made = assignment({"original": 1.0})
    assert made.shadow_variant is None
    assert not made.shadowed("x")
