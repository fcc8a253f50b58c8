from __future__ import annotations

import asyncio
import time

import pytest

from serve_app.dataport import resting
from serve_app.dataport.resting import WOKEN_PER_SECOND, Resting
from tests.serve_app.dataport.ports import eventually


class Sleeper:
    """Notes when it is woken."""

    def __init__(self, woken: list[Sleeper]) -> None:
        self._woken = woken
        self.at = 0.0

    def wake(self) -> None:
        self.at = time.monotonic()
        self._woken.append(self)


async def test_all_are_woken_in_their_order_and_not_too_many_at_once() -> None:
    woken: list[Sleeper] = []
    sleepers = [Sleeper(woken) for _ in range(200)]
    house, began = Resting(60.0), time.monotonic()
    for sleeper in sleepers:
        assert house.add(sleeper)
    assert woken == []
    await eventually(lambda: len(woken) == len(sleepers))
    assert woken == sleepers
    for count, sleeper in enumerate(sleepers):
        assert sleeper.at - began >= (count - 10) / WOKEN_PER_SECOND * 0.9


async def test_nobody_rests_much_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resting, "WOKEN_PER_SECOND", 100.0)
    woken: list[Sleeper] = []
    house = Resting(0.1)
    early, late = [Sleeper(woken) for _ in range(5000)], [Sleeper(woken) for _ in range(5000)]
    for sleeper in early:
        house.add(sleeper)
    await asyncio.sleep(0.05)
    for sleeper in late:
        house.add(sleeper)
    # At a hundred a second it would take a minute and a half.
    await eventually(lambda: len(woken) == 10_000)
    assert woken == early + late


async def test_one_that_comes_back_rests_again() -> None:
    woken: list[Sleeper] = []
    house, sleeper = Resting(60.0), Sleeper([])

    class Back(Sleeper):
        def wake(self) -> None:
            super().wake()
            if len(woken) < 5:
                house.add(self)

    sleeper = Back(woken)
    house.add(sleeper)
    await eventually(lambda: len(woken) == 5)
    await asyncio.sleep(0.05)
    assert len(woken) == 5


async def test_nobody_rests_where_it_is_switched_off() -> None:
    assert not Resting(0.0).add(Sleeper([]))


async def test_closing_wakes_all_and_nobody_rests_any_more() -> None:
    woken: list[Sleeper] = []
    house, sleepers = Resting(60.0), [Sleeper(woken) for _ in range(500)]
    for sleeper in sleepers:
        house.add(sleeper)
    house.close()
    assert woken == sleepers
    assert not house.add(Sleeper(woken))
    house.close()
    await asyncio.sleep(0.05)
    assert woken == sleepers
