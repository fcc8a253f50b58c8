from __future__ import annotations

import pytest

from compression.graphs import latency
from compression.graphs.latency import MIN_CALLS, WARM_UP_CALLS, measure
from compression.machine import this_machine


class Clock:
    """A clock that only calls move."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


def test_percentiles_of_real_calls_are_ordered_and_positive() -> None:
    measured = measure(lambda rows: sum(range(100 * rows)), (1, 8), 0.01)
    assert [size.rows for size in measured.by_rows] == [1, 8]
    for size in measured.by_rows:
        assert 0 < size.p50_seconds <= size.p90_seconds <= size.p99_seconds
        assert size.calls >= MIN_CALLS
    assert measured.by_rows[0].p50_seconds < measured.by_rows[1].p50_seconds


def test_it_says_on_what_machine_with_one_thread() -> None:
    assert measure(lambda rows: None, (1,), 0.0).machine == this_machine(threads=1)


def test_percentiles_are_those_of_the_calls_after_the_warm_up(clock: Clock) -> None:
    taken = [50.0] * WARM_UP_CALLS + [float(call) for call in range(1, 101)]
    calls = iter(taken)

    def call(rows: int) -> None:
        clock.now += next(calls)

    (size,) = measure(call, (1,), sum(range(1, 101)) - 0.5).by_rows
    assert size.calls == 100
    assert size.p50_seconds == pytest.approx(50.5)
    assert size.p90_seconds == pytest.approx(90.1)
    assert size.p99_seconds == pytest.approx(99.01)


def test_slow_calls_are_measured_a_fair_number_of_times(clock: Clock) -> None:
    def call(rows: int) -> None:
        clock.now += 10.0

    (size,) = measure(call, (4,), 1.0).by_rows
    assert (size.rows, size.calls, size.p50_seconds) == (4, MIN_CALLS, 10.0)
