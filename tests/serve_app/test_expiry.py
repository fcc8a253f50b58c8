from __future__ import annotations

import asyncio
import math
import time

from serve_app.expiry import Expiry
from serve_app.fairness import Waiting


class Requests:
    """Some that live, and those that were expired, in order."""

    def __init__(self) -> None:
        self.live: list[Waiting] = []
        self.expired: list[Waiting] = []
        self.looks = 0
        self.expiry = Expiry(self._live, self._expire)

    def add(self, seconds: float) -> Waiting:
        deadline = time.perf_counter() + seconds
        future = asyncio.get_running_loop().create_future()
        self.live.append(made := Waiting({}, 1, 0.0, deadline, future))
        self.expiry.watch(deadline)
        return made

    def _live(self) -> list[Waiting]:
        self.looks += 1
        return self.live

    def _expire(self, waiting: Waiting) -> None:
        assert time.perf_counter() >= waiting.deadline
        self.expired.append(waiting)
        waiting.future.cancel()


async def until(requests: Requests, count: int) -> None:
    async with asyncio.timeout(10):
        while len(requests.expired) < count:
            await asyncio.sleep(0.001)


async def test_each_is_told_at_its_own_deadline() -> None:
    requests = Requests()
    later, sooner, never = requests.add(0.04), requests.add(0.02), requests.add(600.0)
    await until(requests, 2)
    assert requests.expired == [sooner, later]
    assert requests.expiry.next == never.deadline
    requests.expiry.close()
    assert requests.expiry.next == math.inf


async def test_those_who_were_answered_are_not_looked_at_again() -> None:
    requests = Requests()
    answered, late = requests.add(0.01), requests.add(0.03)
    answered.future.cancel()
    await until(requests, 1)
    assert requests.expired == [late]
    assert requests.expiry.next == math.inf


async def test_many_deadlines_need_few_looks() -> None:
    requests = Requests()
    for _ in range(1000):
        requests.add(0.02).future.cancel()
    requests.add(0.05)
    await until(requests, 1)
    assert requests.looks <= 5
