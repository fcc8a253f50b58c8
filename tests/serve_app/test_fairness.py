from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from serve_app.fairness import _REMEMBERED, FairQueue, Waiting


def waiting(rows: int = 1, caller: str = "a") -> Waiting:
    return Waiting({}, rows, 0.0, 1.0, asyncio.get_running_loop().create_future(), caller)


def taken(queue: FairQueue, count: int) -> list[Waiting]:
    result = []
    for _ in range(count):
        first = queue.first()
        assert first is not None
        assert queue.take() is first
        result.append(first)
    return result


async def test_one_caller_is_served_in_order() -> None:
    queue, requests = FairQueue(), [waiting(rows) for rows in (3, 1, 5)]
    for request in requests:
        queue.push(request)
    assert queue.rows == 9
    assert list(queue) == requests
    assert taken(queue, 3) == requests
    assert queue.first() is None
    assert queue.rows == 0


async def test_a_flood_does_not_delay_the_others() -> None:
    queue, flood = FairQueue(), [waiting(caller="flood") for _ in range(100)]
    other = [waiting(caller="other"), waiting(caller="other")]
    for request in flood:
        queue.push(request)
    taken(queue, 10)
    for request in other:
        queue.push(request)
    assert [request in other for request in taken(queue, 4)].count(True) == 2


async def test_callers_get_the_same_rows_whatever_the_size_of_their_requests() -> None:
    queue, owner = FairQueue(), dict[Waiting, str]()
    for name, rows in (("large", 32), ("middle", 8), ("small", 1)):
        for _ in range(640 // rows):
            owner[request := waiting(rows, name)] = name
            queue.push(request)
    served: Counter[str] = Counter()
    while sum(served.values()) < 960:
        [request] = taken(queue, 1)
        served[owner[request]] += request.rows
    assert max(served.values()) - min(served.values()) <= 32


async def test_a_rest_gives_no_credit() -> None:
    queue = FairQueue()
    for _ in range(50):
        queue.push(waiting(caller="busy"))
    taken(queue, 40)
    late = [waiting(caller="late") for _ in range(20)]
    for request in late:
        queue.push(request)
    assert [request in late for request in taken(queue, 10)].count(True) == 5


async def test_those_who_withdraw_are_passed_over_without_charge() -> None:
    queue, mine = FairQueue(), [waiting(9) for _ in range(3)]
    theirs = [waiting(caller="b"), waiting(caller="b")]
    for request in mine:
        queue.push(request)
    for request in theirs:
        queue.push(request)
    queue.withdraw(mine[0])
    queue.withdraw(mine[0])
    assert queue.rows == 20
    assert mine[0].inputs == {}
    order = taken(queue, 4)
    assert [request for request in order if request in mine] == mine[1:]
    assert order.index(theirs[0]) < order.index(mine[2])
    queue.withdraw(mine[1])
    assert queue.rows == 0


async def test_nothing_piles_up_of_those_who_withdrew_or_left() -> None:
    queue, stays = FairQueue(), waiting(caller="stays")
    queue.push(stays)
    for number in range(5 * _REMEMBERED):
        queue.push(gone := waiting(caller=f"caller-{number}"))
        queue.withdraw(gone)
    assert len(queue._callers) <= 2 * _REMEMBERED + 1
    assert len(queue._turns) <= _REMEMBERED + 1
    assert list(queue) == [stays]
    assert taken(queue, 1) == [stays]
    assert queue.first() is None


@pytest.mark.parametrize("seed", range(5))
async def test_order_within_a_caller_and_the_count_of_rows_hold_in_any_case(seed: int) -> None:
    generator, queue = random.Random(seed), FairQueue()
    arrivals: dict[str, list[Waiting]] = {name: [] for name in "abcd"}
    left: dict[str, list[Waiting]] = {name: [] for name in "abcd"}
    for _ in range(2000):
        name, chance = generator.choice("abcd"), generator.random()
        if chance < 0.5:
            queue.push(request := waiting(generator.randint(1, 9), name))
            arrivals[name].append(request)
            left[name].append(request)
        elif chance < 0.6 and left[name]:
            queue.withdraw(left[name].pop(generator.randrange(len(left[name]))))
        elif (first := queue.first()) is not None:
            [owner] = [key for key, requests in left.items() if first in requests]
            assert left[owner].pop(0) is first
            assert queue.take() is first
        assert queue.rows == sum(each.rows for requests in left.values() for each in requests)
    assert sum(len(requests) for requests in left.values()) == len(list(queue))
