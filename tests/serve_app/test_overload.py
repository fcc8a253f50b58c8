"""Three times as many requests as a variant can answer, offered at their own pace."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.batching import Batcher
from serve_app.errors import DeadlineExceededError, QueueFullError
from serve_app.runners import Arrays
from serve_app.terms import Terms

BATCH_ROWS = 8
BATCH_SECONDS = 0.02
DEADLINE_SECONDS = 0.3
OVERLOAD = 3
OFFERED_SECONDS = 2.0
INPUTS = {"x": np.zeros((1, 1), np.float32)}


def run(inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """A model that takes the same time for every batch, and no processor."""
    time.sleep(BATCH_SECONDS)
    return {"y": inputs["x"]}


@dataclass
class Outcome:
    """What became of the requests that were offered."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    shed: int = 0
    late: int = 0

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds

    def missed(self, capacity: float) -> list[str]:
        """Which of the promises were not kept, with the figures."""
        offered = (len(self.latencies) + self.shed + self.late) / self.seconds
        p99 = float(np.quantile(self.latencies, 0.99))
        promises = {
            f"offered {offered}": offered >= 0.8 * OVERLOAD * capacity,
            f"goodput {self.rate} of {capacity}": self.rate >= 0.9 * capacity,
            f"p99 {p99} s": p99 <= 1.05 * DEADLINE_SECONDS,
        }
        return [promise for promise, kept in promises.items() if not kept]

    async def ask(self, batcher: Batcher, deadline_seconds: float = math.inf) -> None:
        """One request, counted."""
        started = time.perf_counter()
        try:
            await batcher.submit(INPUTS, 1, Terms("", started + deadline_seconds))
        except QueueFullError:
            self.shed += 1
        except DeadlineExceededError:
            self.late += 1
        else:
            self.latencies.append(time.perf_counter() - started)


async def saturate(batcher: Batcher) -> Outcome:
    """As many callers as fill two batches, each with its next request after its last."""
    outcome, started = Outcome(), time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() < started + OFFERED_SECONDS / 2:
            await outcome.ask(batcher)

    await asyncio.gather(*(caller() for _ in range(2 * BATCH_ROWS)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def overload(batcher: Batcher, rate: float) -> Outcome:
    """`rate` requests per second, whether or not the ones before were answered."""
    outcome, started, tasks = Outcome(), time.perf_counter(), list[asyncio.Task[None]]()
    while (elapsed := time.perf_counter() - started) < OFFERED_SECONDS:
        for _ in range(int(elapsed * rate) - len(tasks)):
            tasks.append(asyncio.create_task(outcome.ask(batcher, DEADLINE_SECONDS)))
        await asyncio.sleep(0.002)
    outcome.seconds = time.perf_counter() - started
    await asyncio.gather(*tasks)
    return outcome


@pytest.mark.parametrize("queue", ["short", "long"])
async def test_goodput_stays_and_who_is_answered_is_answered_in_time(queue: str) -> None:
    # A short queue sheds at the door; in a long one most would wait longer than they have time.
    rows = 4 * BATCH_ROWS if queue == "short" else 1000 * BATCH_ROWS
    for last in (False, False, True):
        # The machine may be busy with something else in one half of a round and not in the other.
        batcher = Batcher(
            run, name="m", max_batch_rows=BATCH_ROWS, max_queued_rows=rows, timeout_seconds=60.0
        )
        capacity = (await saturate(batcher)).rate
        outcome = await overload(batcher, OVERLOAD * capacity)
        assert batcher.queued_rows == 0
        assert (await batcher.submit(INPUTS, 1)).queue_seconds < DEADLINE_SECONDS
        await batcher.close()
        if last or not outcome.missed(capacity):
            break
    assert outcome.missed(capacity) == []
    if queue == "short":
        assert outcome.shed > 10 * outcome.late
    else:
        assert (outcome.shed, outcome.late > 0) == (0, True)
