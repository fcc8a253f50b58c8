from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.batching import Batcher, Computed
from serve_app.errors import DeadlineExceededError, QueueFullError
from serve_app.runners import Arrays
from serve_app.terms import ANYBODY, Terms

POISON = -1.0


class Model:
    """Doubles its input; holds every call at a gate; records rows per call and the thread."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.seconds = 0.0
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        self.batches.append(len(inputs["x"]))
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        time.sleep(self.seconds)
        if (inputs["x"] == POISON).any():
            raise ValueError("poison")
        return {"y": inputs["x"] * 2}


class Observer:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def batch(self, rows: int, seconds: float) -> None:
        self.rows.append(rows)


@asynccontextmanager
async def batcher(model: Model, **options: Any) -> AsyncIterator[Batcher]:
    settings = {"max_batch_rows": 8, "max_queued_rows": 16, "timeout_seconds": 60.0} | options
    made = Batcher(model.run, name="m", **settings)
    try:
        yield made
    finally:
        model.gate.set()
        await made.close()


def request(value: float, rows: int = 1) -> Arrays:
    return {"x": np.full((rows, 2), value, dtype=np.float32)}


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def start(made: Batcher, model: Model, value: float, rows: int = 1) -> asyncio.Task[Computed]:
    """Submit, and return once the model is working on it."""
    calls = len(model.batches)
    task = asyncio.create_task(made.submit(request(value, rows), rows))
    await until(lambda: len(model.batches) > calls)
    return task


async def test_a_lone_request_goes_at_once_and_alone() -> None:
    model, observer = Model(), Observer()
    async with batcher(model, observer=observer) as made:
        computed = await made.submit(request(3.0), 1)
    np.testing.assert_array_equal(computed.outputs["y"], [[6.0, 6.0]])
    assert computed.queue_seconds < 1.0
    assert observer.rows == [1]
    assert model.threads != {"MainThread"}


async def test_those_who_wait_go_together_and_each_gets_its_own_rows() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        first = await start(made, model, 1.0)
        others = [asyncio.create_task(made.submit(request(float(n), rows=n), n)) for n in (2, 3)]
        await until(lambda: made.queued_rows == 5)
        model.gate.set()
        await first
        for n, task in zip((2, 3), others, strict=True):
            np.testing.assert_array_equal((await task).outputs["y"], np.full((n, 2), 2.0 * n))
    assert model.batches == [1, 5]


async def test_a_batch_ends_at_the_cap_counted_in_rows() -> None:
    model = Model(held=True)
    async with batcher(model, max_batch_rows=4) as made:
        tasks = [await start(made, model, 0.0)]
        tasks += [asyncio.create_task(made.submit(request(1.0, rows=r), r)) for r in (3, 2, 2, 6)]
        await until(lambda: made.queued_rows == 13)
        model.gate.set()
        await asyncio.gather(*tasks)
    assert model.batches == [1, 3, 4, 4, 2]


async def test_a_full_queue_refuses_and_counts_rows() -> None:
    model = Model(held=True)
    async with batcher(model, max_queued_rows=3) as made:
        tasks = [await start(made, model, 0.0, rows=8)]
        tasks.append(asyncio.create_task(made.submit(request(1.0, rows=2), 2)))
        await until(lambda: made.queued_rows == 2)
        with pytest.raises(QueueFullError, match="2 rows waiting, at most 3"):
            await made.submit(request(1.0, rows=2), 2)
        model.gate.set()
        await asyncio.gather(*tasks)
        assert made.queued_rows == 0
        await made.submit(request(1.0, rows=8), 8)


async def test_a_cancelled_caller_is_dropped_before_compute() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        first = await start(made, model, 0.0)
        gone = asyncio.create_task(made.submit(request(1.0, rows=5), 5))
        stays = asyncio.create_task(made.submit(request(2.0), 1))
        await until(lambda: made.queued_rows == 6)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert made.queued_rows == 1
        model.gate.set()
        await asyncio.gather(first, stays)
    assert model.batches == [1, 1]


async def test_cancelling_while_it_computes_does_not_disturb_the_others() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        first = await start(made, model, 0.0)
        first.cancel()
        second = asyncio.create_task(made.submit(request(2.0), 1))
        model.gate.set()
        np.testing.assert_array_equal((await second).outputs["y"], [[4.0, 4.0]])


@pytest.mark.parametrize("direct_rows", [0, 64])
async def test_a_poisonous_request_fails_alone(direct_rows: int) -> None:
    model, observer = Model(), Observer()
    async with batcher(model, direct_rows=direct_rows, observer=observer) as made:
        results = await asyncio.gather(
            *(made.submit(request(value), 1) for value in (1.0, POISON, 2.0)),
            return_exceptions=True,
        )
    assert isinstance(results[1], ValueError)
    assert isinstance(results[0], Computed)
    assert isinstance(results[2], Computed)
    np.testing.assert_array_equal(results[2].outputs["y"], [[4.0, 4.0]])
    assert model.batches == [3, 1, 1, 1]
    assert observer.rows == [1, 1]


async def test_a_lone_poisonous_request_is_not_tried_again() -> None:
    model = Model()
    async with batcher(model) as made:
        with pytest.raises(ValueError, match="poison"):
            await made.submit(request(POISON), 1)
        assert model.batches == [1]
        await made.submit(request(1.0), 1)


async def test_small_batches_run_on_the_loop_and_still_gather() -> None:
    model = Model()
    async with batcher(model, direct_rows=4) as made:
        await asyncio.gather(*(made.submit(request(float(n)), 1) for n in range(3)))
        assert model.threads == {"MainThread"}
        await made.submit(request(0.0, rows=5), 5)
    assert model.batches == [3, 5]
    assert len(model.threads) == 2


async def test_a_request_larger_than_a_batch_is_computed_in_pieces() -> None:
    model, observer = Model(), Observer()
    async with batcher(model, max_batch_rows=4, observer=observer) as made:
        inputs = {"x": np.arange(22, dtype=np.float32).reshape(11, 2)}
        computed = await made.submit(inputs, 11)
    np.testing.assert_array_equal(computed.outputs["y"], inputs["x"] * 2)
    assert model.batches == observer.rows == [4, 4, 3]


@pytest.mark.parametrize(("batch_seconds", "least_turns"), [(0.0015, 20), (0.0, 1)])
async def test_the_loop_turns_between_batches_that_hold_it_for_long(
    batch_seconds: float, least_turns: int
) -> None:
    """After each that takes longer than a millisecond, and after some that do not."""
    model, turns = Model(), 0
    model.seconds = batch_seconds

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with batcher(model, max_batch_rows=4, direct_rows=4) as made:
        turning = asyncio.create_task(turn())
        await made.submit(request(1.0, rows=80), 80)
        turning.cancel()
    assert model.threads == {"MainThread"}
    assert len(model.batches) == 20
    assert turns >= least_turns


async def test_another_batch_goes_beside_the_first_when_it_is_half_full() -> None:
    model = Model(held=True)
    async with batcher(model, lanes=2) as made:
        first = await start(made, model, 1.0)
        few = [asyncio.create_task(made.submit(request(2.0), 1)) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert model.batches == [1]
        assert made.queued_rows == 3
        fourth = await start(made, model, 3.0)
        late = [asyncio.create_task(made.submit(request(4.0), 1)) for _ in range(8)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert model.batches == [1, 4]
        assert not made.idle
        model.gate.set()
        answers = await asyncio.gather(first, *few, fourth, *late)
        assert [each.outputs["y"][0, 0] for each in answers] == [2.0] + 3 * [4.0] + [6.0] + 8 * [
            8.0
        ]
        assert sum(model.batches) == 13
        assert len(model.threads) == 2
        assert made.idle


async def test_a_poisonous_batch_does_not_disturb_the_one_beside_it() -> None:
    model = Model(held=True)
    async with batcher(model, lanes=2) as made:
        first = await start(made, model, 1.0)
        values = [POISON, 2.0, 3.0, 4.0]
        others = [asyncio.create_task(made.submit(request(value), 1)) for value in values]
        await until(lambda: len(model.batches) == 2)
        model.gate.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert isinstance(answers[1], ValueError)
        good = [each for each in answers if isinstance(each, Computed)]
        assert [each.outputs["y"][0, 0] for each in good] == [2.0, 4.0, 6.0, 8.0]
        assert made.idle


async def test_who_is_in_either_lane_is_told_at_its_deadline() -> None:
    model = Model(held=True)
    async with batcher(model, lanes=2, timeout_seconds=0.05) as made:
        first = await start(made, model, 1.0)
        second = await start(made, model, 2.0, rows=4)
        for late in (first, second):
            with pytest.raises(DeadlineExceededError):
                await late


@pytest.mark.parametrize("direct_rows", [0, 8])
async def test_requests_that_do_not_fit_together_are_computed_one_by_one(direct_rows: int) -> None:
    """Of texts, say, of different lengths."""
    model = Model(held=True)
    async with batcher(model, direct_rows=direct_rows) as made:
        first = await start(made, model, 1.0, rows=9) if not direct_rows else None
        short, long = request(2.0), {"x": np.full((1, 3), 3.0, dtype=np.float32)}
        both = [asyncio.create_task(made.submit(inputs, 1)) for inputs in (short, long)]
        await asyncio.sleep(0)
        model.gate.set()
        if first is not None:
            await first
        shapes = [(await task).outputs["y"].shape for task in both]
        assert shapes == [(1, 2), (1, 3)]


async def test_after_closing_a_request_is_refused_and_not_left_waiting() -> None:
    model = Model()
    async with batcher(model) as made:
        await made.close()
        with pytest.raises(RuntimeError):
            await made.submit(request(1.0), 1)


async def test_a_piece_that_fails_ends_the_request_and_only_it() -> None:
    model = Model()
    async with batcher(model, max_batch_rows=4, max_queued_rows=64) as made:
        inputs = {"x": np.zeros((40, 2), dtype=np.float32)}
        inputs["x"][2] = POISON
        large = asyncio.create_task(made.submit(inputs, 40))
        small = asyncio.create_task(made.submit(request(1.0), 1))
        with pytest.raises(ValueError, match="poison"):
            await large
        np.testing.assert_array_equal((await small).outputs["y"], [[2.0, 2.0]])
        assert made.queued_rows == 0


async def test_the_queue_may_be_smaller_than_a_request_if_nobody_waits() -> None:
    model = Model(held=True)
    async with batcher(model, max_queued_rows=3, max_batch_rows=64) as made:
        first = await start(made, model, 0.0)
        large = asyncio.create_task(made.submit(request(1.0, rows=30), 30))
        await until(lambda: made.queued_rows == 30)
        with pytest.raises(QueueFullError):
            await made.submit(request(1.0), 1)
        model.gate.set()
        await asyncio.gather(first, large)


def soon(seconds: float) -> Terms:
    return Terms("", time.perf_counter() + seconds)


@pytest.mark.parametrize("direct_rows", [0, 64])
async def test_whose_time_is_over_is_not_let_in(direct_rows: int) -> None:
    model = Model()
    async with batcher(model, direct_rows=direct_rows) as made:
        with pytest.raises(DeadlineExceededError, match="'m' has no answer within the time"):
            await made.submit(request(1.0), 1, soon(-0.001))
    assert model.batches == []


async def test_who_waits_too_long_is_told_at_once_and_not_computed() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        first = await start(made, model, 0.0)
        late = asyncio.create_task(made.submit(request(1.0, rows=3), 3, soon(0.02)))
        stays = asyncio.create_task(made.submit(request(2.0), 1))
        with pytest.raises(DeadlineExceededError):
            await late
        assert not first.done()
        assert made.queued_rows == 1
        model.gate.set()
        await asyncio.gather(first, stays)
    assert model.batches == [1, 1]


async def test_who_is_being_computed_is_told_at_its_deadline_too() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        with pytest.raises(DeadlineExceededError):
            await made.submit(request(1.0), 1, soon(0.02))
        model.gate.set()
        await made.submit(request(1.0), 1)


async def test_terms_shorten_the_configured_limit_and_never_extend_it() -> None:
    model = Model(held=True)
    async with batcher(model, timeout_seconds=0.02) as made:
        for terms in (ANYBODY, soon(60.0)):
            with pytest.raises(DeadlineExceededError, match=r"at most 0\.02 s"):
                await made.submit(request(1.0), 1, terms)
        model.gate.set()


async def test_who_cannot_be_ready_in_time_makes_room_for_those_who_can() -> None:
    model = Model()
    model.seconds = 0.1
    async with batcher(model) as made:
        await made.submit(request(1.0), 1)
        busy = asyncio.create_task(made.submit(request(1.0), 1))
        await asyncio.sleep(0.01)
        # Ends 10 ms after the running inference, and the next one takes 100 ms.
        hopeless = asyncio.create_task(made.submit(request(1.0, rows=4), 4, soon(0.1)))
        others = [asyncio.create_task(made.submit(request(1.0), 1)) for _ in range(2)]
        with pytest.raises(DeadlineExceededError):
            await hopeless
        await asyncio.gather(busy, *others)
    assert model.batches == [1, 1, 2]


async def test_a_wrong_estimate_heals() -> None:
    model = Model()
    async with batcher(model) as made:
        for _ in range(5):
            made._pace.batch(1, 30.0)
        await made.submit(request(1.0), 1, soon(20.0))
        assert made._pace.batch_seconds < 1.0


async def test_retry_after_follows_from_the_queue_and_the_rate() -> None:
    model = Model(held=True)
    async with batcher(model, max_queued_rows=40, max_batch_rows=64) as made:
        for _ in range(5):
            made._pace.batch(10, 1.0)
        tasks = [await start(made, model, 0.0)]
        tasks.append(asyncio.create_task(made.submit(request(1.0, rows=35), 35)))
        await until(lambda: made.queued_rows == 35)
        with pytest.raises(QueueFullError, match="try again in 4 s") as raised:
            await made.submit(request(1.0, rows=9), 9)
        assert raised.value.retry_after_seconds == 4
        model.gate.set()
        await asyncio.gather(*tasks)


async def test_a_flood_of_one_caller_does_not_starve_another() -> None:
    model, order = Model(held=True), list[str]()

    async def ask(made: Batcher, caller: str) -> None:
        await made.submit(request(1.0), 1, Terms(caller, math.inf))
        order.append(caller)

    async with batcher(model, max_batch_rows=4, max_queued_rows=64) as made:
        first = await start(made, model, 0.0)
        tasks = [asyncio.create_task(ask(made, "flood")) for _ in range(40)]
        await until(lambda: made.queued_rows == 40)
        tasks += [asyncio.create_task(ask(made, "other")) for _ in range(4)]
        await until(lambda: made.queued_rows == 44)
        model.gate.set()
        await asyncio.gather(first, *tasks)
    assert order[:8].count("other") >= 3
    assert model.batches == [1] + [4] * 11


async def test_closing_cancels_who_waits() -> None:
    model = Model(held=True)
    async with batcher(model) as made:
        first = await start(made, model, 0.0)
        waits = asyncio.create_task(made.submit(request(1.0), 1))
        await until(lambda: made.queued_rows == 1)
        await made.close()
        with pytest.raises(asyncio.CancelledError):
            await waits
        first.cancel()
