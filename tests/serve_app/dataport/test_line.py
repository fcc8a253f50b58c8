from __future__ import annotations

import time

import pytest

from serve_app.dataport.line import Line


class Somebody:
    def __init__(self, ready: bool = True) -> None:
        self._ready = ready

    def ready(self) -> bool:
        return self._ready


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def moving(clock: list[float], line: Line[Somebody], per_second: float, seconds: float) -> None:
    """Let so many a second have their turn, and as many come."""
    for _ in range(round(seconds / 0.01)):
        clock[0] += 0.01
        for somebody in line.leave(round(per_second * 0.01)):
            line.join(somebody)
        line.has_room(0.0)


def filled(count: int, longest_seconds: float = 0.5) -> Line[Somebody]:
    line: Line[Somebody] = Line(longest_seconds)
    for _ in range(count):
        line.join(Somebody())
    return line


def test_the_first_to_come_is_the_first_to_leave() -> None:
    line: Line[Somebody] = Line(0.5)
    people = [Somebody() for _ in range(5)]
    for somebody in people:
        line.join(somebody)
    assert line.leave(2) == people[:2]
    assert len(line) == 3
    assert line.leave(0) == []
    assert line.leave(10) == people[2:]
    assert len(line) == 0


def test_who_is_not_ready_takes_nobodys_turn() -> None:
    line: Line[Somebody] = Line(0.5)
    people = [Somebody(ready=number % 2 == 1) for number in range(6)]
    for somebody in people:
        line.join(somebody)
    assert line.leave(2) == [people[1], people[3]]
    assert line.leave(2) == [people[5]]
    assert len(line) == 0


def test_a_line_may_be_long_until_it_is_known_how_fast_it_moves(clock: list[float]) -> None:
    line = filled(5000)
    clock[0] += 0.09
    assert line.has_room(0.0)
    clock[0] += 0.02
    assert not line.has_room(0.0)


@pytest.mark.parametrize("per_second", [1000, 10_000])
def test_so_many_may_wait_as_leave_in_time(clock: list[float], per_second: int) -> None:
    fits = per_second // 2
    for count, room in ((fits - 2, True), (fits + 2, False)):
        line = filled(count)
        moving(clock, line, per_second, 1.0)
        assert line.has_room(0.0) == room


def test_who_has_waited_elsewhere_may_wait_less(clock: list[float]) -> None:
    line = filled(300)
    moving(clock, line, 1000, 1.0)
    assert line.has_room(0.0)
    assert line.has_room(0.15)
    assert not line.has_room(0.25)
    assert not line.has_room(10.0)


def test_a_few_may_always_wait(clock: list[float]) -> None:
    line = filled(63)
    clock[0] += 10.0
    assert line.has_room(0.4)
    assert not line.has_room(0.5)
    line.join(Somebody())
    assert not line.has_room(0.0)


def test_a_line_that_moves_faster_or_slower_is_soon_known_to(clock: list[float]) -> None:
    line = filled(1000)
    moving(clock, line, 5000, 1.0)
    assert line.has_room(0.0)
    clock[0] += 0.3  # a pause alone says little
    assert line.has_room(0.0)
    moving(clock, line, 500, 2.0)
    assert not line.has_room(0.0)
    moving(clock, line, 5000, 2.0)
    assert line.has_room(0.0)


def test_what_was_known_of_an_earlier_line_does_not_count(clock: list[float]) -> None:
    line = filled(100)
    moving(clock, line, 100, 1.0)
    assert not line.has_room(0.0)
    everybody = line.leave(100)
    for somebody in everybody * 2:
        line.join(somebody)
    assert line.has_room(0.0)
