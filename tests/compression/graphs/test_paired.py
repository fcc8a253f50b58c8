from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pytest

from compression.graphs.paired import MIN_PAIRS, PairedLatency, compare_graphs, time_pairs
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
    pairs = [calls[i : i + 2] for i in range(len(calls) - 2 * MIN_PAIRS, len(calls), 2)]
    assert {tuple(sorted(pair)) for pair in pairs} == {("a", "b")}
    assert {pair[0] for pair in pairs} == {"a", "b"}
    assert len(taken.first_seconds) == len(taken.second_seconds) == MIN_PAIRS


def test_a_larger_graph_is_slower_and_training_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    export = TRACING.export

    def watched() -> AbstractContextManager[None]:
        waited.append(True)
        return export()

    monkeypatch.setattr(TRACING, "export", watched)
    row = {"x": np.zeros((1, 4), np.float32)}
    ratio = compare_graphs(perceptron(4, 8), perceptron(4, 300_000), row, 0.05).ratio
    assert ratio.low is not None
    assert ratio.low > 1
    assert waited == [True]
