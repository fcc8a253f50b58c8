"""Successive halving: who goes on, for how long, and what is left when time is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compression.search.config import Limits
from compression.search.examined import Examined
from compression.search.halving import better_half, halve
from compression.search.space import Plan
from tests.compression.search.made_up import examined, plan


class Tries:
    """Figures by name; remembers what was asked for."""

    def __init__(self, *known: Examined, out_of_time: frozenset[str] = frozenset()) -> None:
        self.known = {one.plan.name: one for one in known}
        self.out_of_time = out_of_time
        self.asked: list[list[tuple[str, int]]] = []

    def __call__(self, plans: Sequence[Plan]) -> Mapping[str, Examined]:
        self.asked.append([(p.name, p.steps[0]["distill"]["epochs"]) for p in plans])
        late = self.out_of_time if len(self.asked) > 1 else frozenset()
        return {p.name: self.known[p.name] for p in plans if p.name not in late}


def test_the_better_half_is_trained_longer() -> None:
    tries = Tries(
        examined("best", 0.99, 9), examined("worst", 0.7, 1), examined("bad", 0.8, 2),
        examined("good", 0.9, 8),
    )  # fmt: skip
    known = halve([plan(name) for name in tries.known], (0.25, 1.0), Limits(), tries)
    assert tries.asked == [
        [("best", 2), ("worst", 2), ("bad", 2), ("good", 2)], [("best", 8), ("good", 8)],
    ]  # fmt: skip
    assert set(known) == {"best", "worst", "bad", "good"}


def test_a_last_rung_that_is_out_of_time_leaves_the_brief_result() -> None:
    tries = Tries(examined("a", 0.9), examined("b", 0.8), out_of_time=frozenset("a"))
    known = halve([plan("a"), plan("b")], (0.5, 1.0), Limits(), tries)
    assert known["a"] is tries.known["a"]
    assert tries.asked[1] == [("a", 8)]


def test_a_chain_that_failed_is_not_tried_again() -> None:
    tries = Tries(examined("a"), examined("b"))

    def only_a(plans: Sequence[Plan]) -> Mapping[str, Examined]:
        return {name: one for name, one in tries(plans).items() if name == "a"}

    halve([plan("a"), plan("b")], (0.5, 1.0), Limits(), only_a)
    assert tries.asked[1] == [("a", 8)]


def test_what_does_not_train_is_not_tried_twice() -> None:
    exported = Plan("original-onnx", ({"onnx": {}},), "original-onnx")
    asked = []

    def attempt(plans: Sequence[Plan]) -> Mapping[str, Examined]:
        asked.append([one.name for one in plans])
        return {one.name: examined(one.name) for one in plans}

    halve([exported, plan("student")], (0.5, 1.0), Limits(), attempt)
    assert asked == [["original-onnx", "student"], ["student"]]


def test_a_family_stays_together_and_is_as_good_as_its_best() -> None:
    known = {
        one.plan.name: one
        for one in (
            examined("a", 0.9, 2, 4000),
            examined("a-int8", 0.9, 9, 1000, family="a"),
            examined("b", 0.89, 3, 3000),
        )
    }
    plans = [one.plan for one in known.values()]
    assert [one.name for one in better_half(plans, known, Limits())] == ["a", "a-int8"]


def test_of_equal_rank_those_go_on_that_are_nearer_to_the_targets() -> None:
    known = {
        one.plan.name: one
        for one in (
            examined("exact", 1.0, 1, 9000, seconds=9),
            examined("middle", 0.99, 5, 3000, seconds=5),
            examined("tiny", 0.9, 50, 100, seconds=1),
            examined("coarse", 0.5, 99, 90, seconds=1),
        )
    }
    plans = [one.plan for one in known.values()]
    small = better_half(plans, known, Limits(max_bytes=1000))
    assert [one.name for one in small] == ["tiny", "coarse"]
    fine = better_half(plans, known, Limits(max_ap_loss=0.02))
    assert [one.name for one in fine] == ["middle", "exact"], "quickest to train first"
