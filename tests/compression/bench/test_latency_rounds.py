"""Turns, slices and intervals of interleaved measuring, on calls that take a time made up."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from compression.bench.latency_rounds import (
    MIN_CALLS,
    WARM_UP_CALLS,
    Rounds,
    measure_rounds,
    over_rounds,
    times_faster,
    times_the_rate,
)


class Clock:
    """Time that only calls move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[tuple[str, int]] = []

    def call(self, name: str, seconds: Callable[[int], float]) -> Callable[[int], object]:
        """A call that takes `seconds(rows)`."""

        def call(rows: int) -> None:
            self.called.append((name, rows))
            self.now += seconds(rows)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def _rounds(p50: list[float], rows: int = 1) -> Rounds:
    values = np.array(p50)
    return Rounds(rows, values, values, values, 100)


def test_all_take_turns_in_every_round_and_the_order_turns(clock: Clock) -> None:
    calls = {name: clock.call(name, lambda rows: 1.0) for name in ("a", "b", "c")}
    measure_rounds(calls, [1, 32], rounds=5, slice_seconds=0.5)
    slices = clock.called[:: WARM_UP_CALLS + MIN_CALLS]
    assert [name for name, rows in slices if rows == 1] == list("abcbcacababcbca")
    assert [name for name, rows in slices if rows == 32] == list("abcbcacababcbca")
    assert [rows for _, rows in slices[:12]] == [1, 1, 1, 32, 32, 32] * 2


def test_slices_end_with_their_time(clock: Clock) -> None:
    calls = {"quick": clock.call("quick", lambda rows: 0.25), "slow": clock.call("slow", float)}
    measured = measure_rounds(calls, [2], rounds=5, slice_seconds=10)
    assert measured["quick"][2].calls == 5 * 40
    assert measured["slow"][2].calls == 5 * MIN_CALLS
    assert measured["slow"][2].p50_seconds == pytest.approx([2.0] * 5)
    assert measured["slow"][2].rows_per_second == pytest.approx([1.0] * 5)


def test_warming_up_is_not_measured(clock: Clock) -> None:
    seen = [0]

    def cold(rows: int) -> float:
        seen[0] += 1
        return 100.0 if seen[0] <= WARM_UP_CALLS else 1.0

    measured = measure_rounds({"m": clock.call("m", cold)}, [1], rounds=5, slice_seconds=1)
    assert measured["m"][1].p99_seconds == pytest.approx([1.0] * 5)


def test_a_machine_that_slows_down_changes_no_ratio(clock: Clock) -> None:
    """Ten times slower in the fourth round, for everybody."""

    def drifting(seconds: float) -> Callable[[int], float]:
        return lambda rows: seconds * (10 if 6 <= len(clock.called) // 8 < 8 else 1)

    calls = {"big": clock.call("big", drifting(6.0)), "small": clock.call("small", drifting(2.0))}
    measured = measure_rounds(calls, [1], rounds=5, slice_seconds=1)
    assert measured["small"][1].p50_seconds.max() == pytest.approx(20.0)
    ratio = times_faster(measured["small"][1], measured["big"][1])
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((3.0, 3.0, 3.0))
    rate = times_the_rate(measured["small"][1], measured["big"][1])
    assert rate.value == pytest.approx(3.0)


def test_progress_counts_slices(clock: Clock) -> None:
    told: list[tuple[int, ...]] = []
    calls = {name: clock.call(name, lambda rows: 1.0) for name in "ab"}
    measure_rounds(
        calls,
        [1, 2],
        rounds=5,
        slice_seconds=1,
        report=lambda *told_: told.append(told_),
    )
    assert told == [(done, 20) for done in range(1, 21)]


def test_an_interval_holds_the_median_and_grows_with_the_spread() -> None:
    steady = over_rounds(np.array([1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0]))
    wild = over_rounds(np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.4, 1.1]))
    for estimate in (steady, wild):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
    assert steady.low is not None
    assert wild.low is not None
    assert wild.low < 0.6 < steady.low
    assert over_rounds(np.array([1.0, 2.0, 5.0, 4.0, 3.0])) == over_rounds(
        np.array([1.0, 2.0, 5.0, 4.0, 3.0])
    ), "the same rounds give the same interval"


def test_ratios_are_of_rounds_and_not_of_medians() -> None:
    reference, model = _rounds([10, 20, 30, 40, 50]), _rounds([1, 2, 3, 4, 5])
    assert times_faster(model, reference).low == pytest.approx(10)
    assert times_faster(model, reference).high == pytest.approx(10)
