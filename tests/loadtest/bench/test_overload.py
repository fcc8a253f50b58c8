"""What is read out of an overload."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.bench.options import OverloadOptions
from loadtest.bench.overload import memory_growth, plan, recovery_seconds, summarise
from loadtest.phases import PhasedResult, Stretch

WINDOW = 0.25


def _stretch(start: float, seconds: float = WINDOW, **changes: Any) -> Stretch:
    figures: dict[str, Any] = {
        "scheduled": 100, "good": 100, "late": 0, "rejected": 0, "failed": 0, "unfinished": 0,
        "dropped": 0, "p50_seconds": 0.001, "p99_seconds": 0.002, "lag_p99_seconds": 0.0,
    }  # fmt: skip
    return Stretch(start_seconds=start, duration_seconds=seconds, **{**figures, **changes})


def _after(*changes: dict[str, Any]) -> list[Stretch]:
    """Windows after an overload that ends at 10 s."""
    return [_stretch(10.0 + n * WINDOW, **one) for n, one in enumerate(changes)]


BEFORE, DURING = _stretch(0.0, 5.0), _stretch(5.0, 5.0)


def test_what_is_as_before_at_once_took_no_time() -> None:
    assert recovery_seconds(BEFORE, DURING, _after({}, {}, {})) == 0.0


def test_late_and_lost_requests_count_until_the_last_of_them() -> None:
    windows = _after({"good": 10}, {}, {"good": 99}, {}, {})
    assert recovery_seconds(BEFORE, DURING, windows) == 0.75


def test_slow_answers_are_no_recovery_even_if_all_come() -> None:
    windows = _after({"p50_seconds": 0.5}, {"p50_seconds": 0.003}, {"p50_seconds": 0.0019})
    assert recovery_seconds(BEFORE, DURING, windows) == 0.5


def test_what_fails_to_the_end_did_not_recover() -> None:
    assert recovery_seconds(BEFORE, DURING, _after({}, {}, {"good": 1})) is None
    assert recovery_seconds(BEFORE, DURING, _after({"p50_seconds": 1.0})) is None


def test_windows_of_the_overload_itself_are_not_looked_at() -> None:
    windows = [_stretch(9.75, good=0), *_after({}, {})]
    assert recovery_seconds(BEFORE, DURING, windows) == 0.0


def test_memory_that_fills_first_and_stays_is_flat() -> None:
    assert memory_growth([1, 50, *([100] * 8)]) == pytest.approx(0.0)
    assert memory_growth([100, 100, 100, 100, 100, 100, 120, 140, 160, 180]) == pytest.approx(0.7)
    assert memory_growth([100, 100]) is None


def test_shares_are_of_the_capacity_and_of_what_was_offered() -> None:
    spec = plan(100.0, OverloadOptions(seconds=10.0, light_seconds=5.0), seed=3)
    assert [phase.rate_per_second for phase in spec.phases] == [25.0, 300.0, 25.0]
    during = _stretch(
        5.0, 10.0, scheduled=3000, good=800, late=50, rejected=2000, failed=20, unfinished=10,
        dropped=120, p99_seconds=0.4,
    )  # fmt: skip
    result = PhasedResult(
        spec=spec,
        phases=(BEFORE, during, _stretch(15.0, 5.0)),
        windows=(_stretch(15.0),),
        statuses={"200": 850},
        generator_cpu_share=0.2,
    )
    found = summarise("somebody", (90.0, 110.0), result, [1000] * 10)
    assert (found.name, found.offered_per_second) == ("somebody", 300.0)
    assert found.goodput_share == pytest.approx(0.8)
    assert found.rejected_share == pytest.approx(2 / 3)
    assert found.failed_share == pytest.approx(0.01)
    assert found.dropped_share == pytest.approx(0.04)
    assert found.accepted_p99_seconds == 0.4
    assert found.memory_growth == 0.0
    assert found.recovery_seconds == 0.0
