from __future__ import annotations

import pytest

from serve_app.pace import Pace


def test_before_the_first_batch_it_knows_nothing() -> None:
    pace = Pace()
    assert pace.batch_seconds == 0.0
    assert pace.retry_after_seconds(10_000) == 1


@pytest.mark.parametrize(("rows", "expected"), [(1, 1), (64, 1), (300, 3), (640, 7), (10**6, 60)])
def test_waiting_rows_take_what_they_took_so_far(rows: int, expected: int) -> None:
    pace = Pace()
    for _ in range(20):
        pace.batch(64, 0.64)
    assert pace.retry_after_seconds(rows) == expected


def test_it_follows_a_change() -> None:
    pace = Pace()
    pace.batch(10, 10.0)
    for _ in range(60):
        pace.batch(10, 0.01)
    assert pace.retry_after_seconds(1000) <= 2


def test_one_slow_batch_does_not_speak_for_the_next() -> None:
    pace = Pace()
    pace.batch(1, 0.01)
    pace.batch(1, 5.0)
    assert pace.batch_seconds < 2.0
    pace.batch(1, 0.01)
    assert pace.batch_seconds == 0.01
