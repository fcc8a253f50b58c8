from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import repeat

import numpy as np
import pytest

from compression.graphs.paired import (
    MIN_PAIRS,
    MOST_SLICES,
    PairedLatency,
    compare_graphs,
    time_pairs,
)
from compression.tracing import TRACING
from tests.compression.graphs.made import perceptron


def test_the_ratio_is_that_of_the_medians() -> None:
    first = np.full(101, 0.002)
    second = np.full(101, 0.003)
    second[:10] = 1.0  # a hiccup does not move a median
    ratio = PairedLatency(first, second).ratio
    assert ratio.value == pytest.approx(1.5)
    assert ratio.low == pytest.approx(1.5)
    assert ratio.high == pytest.approx(1.5)


def test_the_interval_holds_the_truth_of_noisy_calls() -> None:
    generator = np.random.default_rng(0)
    noise = generator.gamma(4, 0.1, (2, 400))
    ratio = PairedLatency(1 + noise[0], 2 * (1 + noise[1])).ratio
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 2 < ratio.high
    assert ratio.high - ratio.low < 0.3


def test_calls_take_turns_and_neither_is_always_first() -> None:
    calls: list[str] = []
    taken = time_pairs(lambda: calls.append("a"), lambda: calls.append("b"), 0.0)
    count = len(taken.first_seconds)
    assert count == len(taken.second_seconds)
    assert count % MIN_PAIRS == 0
    assert count <= MOST_SLICES * MIN_PAIRS
    pairs = [calls[i : i + 2] for i in range(len(calls) - 2 * count, len(calls), 2)]
    assert {tuple(sorted(pair)) for pair in pairs} == {("a", "b")}
    assert {pair[0] for pair in pairs} == {"a", "b"}


def _spins(steps: Iterator[int]) -> Callable[[], object]:
    """Each call works as long as the next of the steps says."""
    return lambda: sum(range(next(steps)))


@pytest.mark.parametrize(("narrow_after", "slices"), [(1, 1), (3, 3), (99, MOST_SLICES)])
def test_it_measures_until_the_interval_is_narrow(
    monkeypatch: pytest.MonkeyPatch, narrow_after: int, slices: int
) -> None:
    enough = narrow_after * MIN_PAIRS
    monkeypatch.setattr(
        PairedLatency, "is_narrow", property(lambda self: len(self.first_seconds) >= enough)
    )
    taken = time_pairs(lambda: None, lambda: None, 0.0)
    assert len(taken.first_seconds) == slices * MIN_PAIRS


def test_an_interval_is_narrow_where_calls_are_alike() -> None:
    steady, halves = np.full(100, 0.002), np.tile((0.002, 0.004), 50)
    assert PairedLatency(steady, steady).is_narrow
    assert not PairedLatency(steady, halves).is_narrow


def test_a_call_that_waits_is_not_a_call_that_works() -> None:
    ratio = time_pairs(lambda: time.sleep(0.001), _spins(repeat(50_000)), 0.0).ratio
    assert ratio.value > 2  # by the clock on the wall they would be about equal


def test_a_larger_graph_is_slower_and_training_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    alone = TRACING.alone

    def watched() -> AbstractContextManager[None]:
        waited.append(True)
        return alone()

    monkeypatch.setattr(TRACING, "alone", watched)
    row = {"x": np.zeros((1, 4), np.float32)}
    ratio = compare_graphs(perceptron(4, 8), perceptron(4, 300_000), row, 0.05).ratio
    assert ratio.low is not None
    assert ratio.low > 1
    assert waited == [True]
