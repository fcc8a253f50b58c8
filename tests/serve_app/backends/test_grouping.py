from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Sequence

import numpy as np
import pytest

from serve_app.backends.grouping import Groups, Outcome
from serve_app.batching import Computed
from serve_app.errors import QueueFullError, VariantFailedError
from serve_app.fairness import Waiting
from serve_app.sizes import Sizes

FOREVER = 1e9
CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("CALLER", default="nobody")


class Line:
    """Stands in for the way to a replica: calls return when they are let go."""

    def __init__(self) -> None:
        self.calls: list[list[Waiting]] = []
        self.contexts: list[str] = []
        self.cancelled = 0
        self.returning: list[asyncio.Future[None]] = []

    async def send(self, group: Sequence[Waiting]) -> list[Outcome]:
        self.calls.append(list(group))
        self.contexts.append(CALLER.get())
        self.returning.append(asyncio.get_running_loop().create_future())
        try:
            await self.returning[-1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [computed(each) for each in group]

    @property
    def sizes(self) -> list[int]:
        """Of the groups."""
        return [len(group) for group in self.calls]

    @property
    def callers(self) -> list[list[str]]:
        """Whose requests went together."""
        return [[each.caller for each in group] for group in self.calls]


def computed(waiting: Waiting) -> Computed:
    return Computed(waiting.inputs, 0.0, 0.0)


def groups(line: Line, *, calls: int = 1, batch_rows: int = 64, queued_rows: int = 256) -> Groups:
    return Groups(line.send, name="original", calls=calls, sizes=Sizes(batch_rows, queued_rows))


def ask(made: Groups, number: int = 0, rows: int = 1, caller: str = "") -> asyncio.Task[Computed]:
    """A request that can be told by its number."""
    inputs = {"x": np.full((rows, 1), number)}
    return asyncio.create_task(made.submit(inputs, rows, caller, FOREVER))


async def turns(count: int = 5) -> None:
    """Let everybody do what they can without waiting."""
    for _ in range(count):
        await asyncio.sleep(0)


async def answered(tasks: Sequence[asyncio.Task[Computed]]) -> list[int]:
    """The numbers of those who were answered."""
    async with asyncio.timeout(10):
        return [int((await task).outputs["x"][0, 0]) for task in tasks]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses patience, however slow the machine is."""
    monkeypatch.setattr("serve_app.backends.grouping._PATIENCE_SECONDS", 60.0)


async def test_a_lone_request_goes_at_the_end_of_the_turn() -> None:
    line = Line()
    task = ask(groups(line))
    await turns()
    assert line.sizes == [1]
    line.returning[0].set_result(None)
    assert await answered([task]) == [0]


async def test_what_comes_in_one_turn_goes_together() -> None:
    line = Line()
    made = groups(line)
    tasks = [ask(made, number) for number in range(5)]
    await turns()
    assert line.sizes == [5]
    line.returning[0].set_result(None)
    assert await answered(tasks) == [0, 1, 2, 3, 4]


async def test_while_calls_are_under_way_requests_gather_until_one_returns() -> None:
    line = Line()
    made = groups(line, calls=2)
    tasks = []
    for number in range(6):
        tasks.append(ask(made, number))
        await turns()
    assert line.sizes == [1, 1]
    line.returning[1].set_result(None)
    await turns()
    assert line.sizes == [1, 1, 4]
    assert [task.done() for task in tasks] == [False, True] + [False] * 4
    for returning in (line.returning[0], line.returning[2]):
        returning.set_result(None)
    assert await answered(tasks) == list(range(6))


async def test_a_group_has_at_most_as_many_rows_as_a_batch_and_as_may_wait() -> None:
    for batch_rows, queued_rows in ((8, 256), (256, 8)):
        line = Line()
        made = groups(line, batch_rows=batch_rows, queued_rows=queued_rows)
        tasks = [ask(made, rows=2) for _ in range(4)]
        await turns()
        tasks += [ask(made, rows=2) for _ in range(4)]
        await turns()
        assert line.sizes == [4]
        line.returning[0].set_result(None)
        await turns()
        assert line.sizes == [4, 4]
        line.returning[1].set_result(None)
        await answered(tasks)


async def test_a_group_has_a_bounded_number_of_requests() -> None:
    line = Line()
    made = groups(line, calls=2, batch_rows=1024, queued_rows=4096)
    tasks = [ask(made) for _ in range(100)]
    await turns()
    assert line.sizes == [64, 36]
    for returning in line.returning:
        returning.set_result(None)
    await answered(tasks)


async def test_a_request_of_more_than_a_quarter_of_a_batch_is_too_large() -> None:
    made = groups(Line(), batch_rows=64)
    assert [made.takes({}, rows) for rows in (1, 16, 17)] == [True, True, False]
    made.sizes = Sizes(1024, 4096)
    assert [made.takes({}, rows) for rows in (256, 257)] == [True, False]
    made.sizes = Sizes(1, 2)
    assert not made.takes({}, 1)


async def test_a_request_of_many_bytes_is_too_large() -> None:
    made = groups(Line())
    small, large = np.zeros((1, 1 << 16), np.float32), np.zeros((1, 1 << 17), np.float32)
    assert [made.takes({"x": array}, 1) for array in (small, large)] == [True, False]
    assert not made.takes({"x": small, "y": small}, 1)
    short, long = (np.array([["\N{SNOWMAN}" * count]], object) for count in (1000, 1 << 17))
    assert [made.takes({"x": array}, 1) for array in (short, long)] == [True, False]


async def test_callers_take_turns() -> None:
    line = Line()
    made = groups(line, batch_rows=4)
    tasks = [ask(made, caller="first")]
    await turns()
    tasks += [ask(made, caller="flood") for _ in range(6)]
    await turns()
    tasks += [ask(made, caller="other") for _ in range(2)]
    await turns()
    line.returning[0].set_result(None)
    await turns()
    assert sorted(line.callers[1]) == ["flood", "flood", "other", "other"]
    line.returning[1].set_result(None)
    await turns()
    line.returning[2].set_result(None)
    await answered(tasks)


async def test_beyond_what_may_wait_requests_are_refused() -> None:
    line = Line()
    made = groups(line, queued_rows=8)
    tasks = [ask(made)]
    await turns()
    tasks += [ask(made, rows=2) for _ in range(4)]
    await turns()
    with pytest.raises(QueueFullError, match="'original' has 8 rows waiting, at most 8") as full:
        await made.submit({}, 1, "", FOREVER)
    assert full.value.retry_after_seconds == 1
    line.returning[0].set_result(None)
    await turns()
    line.returning[1].set_result(None)
    assert len(await answered(tasks)) == 5


async def test_who_vanishes_while_waiting_is_not_sent() -> None:
    line = Line()
    made = groups(line)
    tasks = [ask(made)]
    await turns()
    tasks += [ask(made, number) for number in (1, 2, 3)]
    await turns()
    tasks.pop(2).cancel()
    await turns()
    line.returning[0].set_result(None)
    await turns()
    assert line.sizes == [1, 2]
    line.returning[1].set_result(None)
    assert await answered(tasks) == [0, 1, 3]


async def test_who_vanishes_under_way_leaves_the_others_theirs() -> None:
    line = Line()
    made = groups(line)
    tasks = [ask(made, number) for number in range(3)]
    await turns()
    tasks.pop(0).cancel()
    await turns()
    assert line.cancelled == 0
    line.returning[0].set_result(None)
    assert await answered(tasks) == [1, 2]


async def test_a_call_for_nobody_is_cancelled_and_others_take_its_place() -> None:
    line = Line()
    made = groups(line)
    gone = [ask(made) for _ in range(3)]
    await turns()
    stays = ask(made, 7)
    await turns()
    for task in gone:
        task.cancel()
    await turns()
    assert line.cancelled == 1
    assert line.sizes == [3, 1]
    line.returning[1].set_result(None)
    assert await answered([stays]) == [7]


async def test_who_vanishes_in_the_turn_of_the_call_blocks_nobody() -> None:
    line = Line()
    made = groups(line)
    gone = ask(made)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(gone.cancel)
    await turns()
    stays = ask(made, 7)
    await turns()
    line.returning[-1].set_result(None)
    assert await answered([stays]) == [7]


async def test_a_call_that_fails_fails_for_each_of_its_group() -> None:
    class Broken(Line):
        async def send(self, group: Sequence[Waiting]) -> list[Outcome]:
            raise ConnectionError("gone")

    made = groups(Broken())
    tasks = [ask(made) for _ in range(3)]
    for task in tasks:
        with pytest.raises(ConnectionError, match="gone"):
            await task


async def test_one_of_a_group_fails_alone() -> None:
    class Poisoned(Line):
        async def send(self, group: Sequence[Waiting]) -> list[Outcome]:
            return [VariantFailedError("poison"), *(computed(each) for each in group[1:])]

    made = groups(Poisoned())
    tasks = [ask(made, number) for number in range(3)]
    with pytest.raises(VariantFailedError, match="poison"):
        await tasks[0]
    assert await answered(tasks[1:]) == [1, 2]


async def test_nobody_waits_long_for_calls_that_do_not_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.backends.grouping._PATIENCE_SECONDS", 0.01)
    line = Line()
    made = groups(line, batch_rows=4)
    tasks = [ask(made)]
    await turns()
    tasks += [ask(made) for _ in range(6)]
    async with asyncio.timeout(10):
        while sum(line.sizes) < 7:
            await asyncio.sleep(0.001)
    assert line.sizes == [1, 4, 2]
    for returning in line.returning:
        returning.set_result(None)
    await answered(tasks)
    assert len(line.returning) == 3


async def test_patience_begins_with_who_waits() -> None:
    line = Line()
    made = groups(line)
    for _ in range(2):
        tasks = [ask(made)]
        await turns()
        tasks.append(ask(made))
        await turns()
        timer = made._patience
        assert timer is not None
        assert timer.when() > asyncio.get_running_loop().time() + 50.0
        for _ in tasks:
            line.returning[-1].set_result(None)
            await turns()
        assert timer.cancelled()
        assert made._patience is None
        await answered(tasks)


async def test_a_call_is_nobodys_but_its_groups() -> None:
    # What Ray Serve keeps in a request's context would cancel the call with that request.
    line = Line()
    made = groups(line)
    CALLER.set("first")
    task = ask(made)
    await turns()
    assert line.contexts == ["nobody"]
    line.returning[0].set_result(None)
    await answered([task])


async def test_requests_of_all_sizes_are_answered_each_by_its_own() -> None:
    async def send(group: Sequence[Waiting]) -> list[Outcome]:
        await asyncio.sleep(0.0005)
        return [computed(each) for each in group]

    made = Groups(send, name="original", calls=2, sizes=Sizes(64, 4096))
    generator = np.random.default_rng(0)
    tasks = []
    started = time.perf_counter()
    for number in range(500):
        rows, caller = int(generator.integers(1, 17)), f"caller-{generator.integers(5)}"
        tasks.append(ask(made, number, rows, caller))
        if generator.random() < 0.3:
            await asyncio.sleep(0)
        if made._queue.rows > 2000:
            await asyncio.sleep(0.001)
    assert await answered(tasks) == list(range(500))
    assert time.perf_counter() - started < 60
    await turns()
    assert made._under_way == {}
    assert made._queue.rows == 0
