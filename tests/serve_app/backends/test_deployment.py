from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from serve_app.backends.deployment import DeploymentBackend, Request
from serve_app.batching import Computed
from serve_app.config import VariantConfig
from serve_app.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    QueueFullError,
    VariantFailedError,
)
from serve_app.sizes import Sizes
from serve_app.terms import ANYBODY, Terms

INPUTS = {"x": np.zeros((1, 2), np.float32)}


class Handle:
    """Stands in for a DeploymentHandle: `reply` is what calls return for each request, or raise."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.alive = True
        self.sizes = Sizes(64, 256)
        self.calls: list[int] = []
        self.terms: list[tuple[str, float]] = []
        self.serializations: dict[str, str] = {}

    def options(self, **serializations: str) -> Handle:
        self.serializations = serializations
        return self

    @property
    def infer(self) -> _Method:
        return _Method(self._infer)

    @property
    def describe(self) -> _Method:
        return _Method(self._describe)

    async def _infer(self, requests: Sequence[Request]) -> Any:
        self.calls.append(len(requests))
        self.terms += [(caller, seconds) for _, _, caller, seconds in requests]
        reply = self.reply
        if reply is None:
            await asyncio.Event().wait()
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, list):
            return *self.sizes, [reply.pop(0) for _ in requests]
        return *self.sizes, [reply for _ in requests]

    async def _describe(self) -> Any:
        if not self.alive:
            raise RayActorError
        return {"platform": "p", "detail": "d"}


class _Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


def backend(handle: Handle, timeout_seconds: float = 5.0, **more: Any) -> DeploymentBackend:
    config = VariantConfig(
        name="original", placement="deployment", timeout_seconds=timeout_seconds, **more
    )
    return DeploymentBackend(handle, config)  # type: ignore[arg-type]


async def test_a_reply_is_passed_on_as_it_was_computed() -> None:
    handle = Handle(("computed", ({"score": np.ones(1)}, 0.1, 0.2)))
    for large in (False, True):
        computed = await backend(handle).infer(INPUTS, 64 if large else 1)
        assert computed.outputs == {"score": np.ones(1)}
        # Its wait here is part of its wait.
        assert computed.queue_seconds == 0.1 if large else 0.1 < computed.queue_seconds < 1.0
        assert computed.infer_seconds == 0.2
    assert set(handle.serializations.values()) == {"pickle"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (("full", ("because", 3)), QueueFullError),
        (("late", "because"), DeadlineExceededError),
        (("failed", "because"), VariantFailedError),
    ],
)
async def test_tags_become_errors_again(reply: Any, error: type[Exception]) -> None:
    for rows in (1, 64):
        with pytest.raises(error, match="because") as raised:
            await backend(Handle(reply)).infer(INPUTS, rows)
        assert getattr(raised.value, "retry_after_seconds", 3) == 3


async def test_a_call_that_ray_serve_does_not_take_is_shed_and_nobody_is_away() -> None:
    handle = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=8))
    made = backend(handle)
    for _ in range(2):
        with pytest.raises(QueueFullError, match="'original' is full"):
            await made.infer(INPUTS, 1)
    assert handle.calls == [1, 1]


async def test_the_caller_and_the_time_that_is_left_go_along() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    made = backend(handle, timeout_seconds=5.0)
    await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 2.0))
    await made.infer(INPUTS, 1)
    (caller, seconds), configured = handle.terms
    assert caller == "a"
    assert 0 < seconds <= 2.0
    assert configured[0] == ""
    assert 2.0 < configured[1] <= 5.0


async def test_whose_time_is_over_is_not_sent_on() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    with pytest.raises(DeadlineExceededError):
        await backend(handle).infer(INPUTS, 1, Terms("a", time.perf_counter() - 1.0))
    assert handle.calls == []


async def test_an_impatient_caller_does_not_make_a_replica_that_answers_away() -> None:
    handle = Handle(None)
    made = backend(handle, timeout_seconds=60.0)
    for _ in range(2):
        with pytest.raises(DeadlineExceededError, match="at most 60 s"):
            await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 0.01))
    assert handle.calls == [1, 1]
    handle.alive = False
    with pytest.raises(DeadlineExceededError):
        await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 0.01))
    await asyncio.sleep(0.05)
    with pytest.raises(BackendUnavailableError):
        await made.infer(INPUTS, 1)
    assert handle.calls == [1, 1, 1]


@pytest.mark.parametrize("reply", [RayActorError(), None])
async def test_one_that_is_away_is_not_waited_for_again_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, reply: Exception | None
) -> None:
    monkeypatch.setattr("serve_app.backends.deployment._GRACE_SECONDS", 0.01)
    handle = Handle(reply)
    handle.alive = False
    made = backend(handle, timeout_seconds=0.01)
    for _ in range(5):
        with pytest.raises(BackendUnavailableError, match="'original' is unavailable"):
            await made.infer(INPUTS, 1)
    assert handle.calls == [1]
    assert not await made.ready()
    handle.alive, handle.reply = True, ("computed", ({}, 0.0, 0.0))
    async with asyncio.timeout(5):
        while True:
            try:
                await made.infer(INPUTS, 1)
                break
            except BackendUnavailableError:
                await asyncio.sleep(0.01)
    assert await made.ready()


async def ask(made: DeploymentBackend, count: int, rows: int = 1, **terms: Any) -> list[Any]:
    """What becomes of as many requests in one turn of the loop."""
    asked = [
        made.infer(INPUTS, rows, Terms(**{**ANYBODY._asdict(), **terms})) for _ in range(count)
    ]
    async with asyncio.timeout(10):
        return await asyncio.gather(*asked, return_exceptions=True)


async def test_requests_of_one_turn_share_a_call_and_each_has_its_own_answer() -> None:
    handle = Handle([("computed", ({}, 0.0, 0.5)), ("failed", "poison"), ("full", ("shed", 7)),
                     ("late", "too late"), ("computed", ({}, 0.0, 0.25))])  # fmt: skip
    made = backend(handle)
    first, failed, full, late, last = await ask(made, 5)
    assert handle.calls == [5]
    assert (first.infer_seconds, last.infer_seconds) == (0.5, 0.25)
    assert (type(failed), type(late)) == (VariantFailedError, DeadlineExceededError)
    assert (type(full), full.retry_after_seconds) == (QueueFullError, 7)


async def test_large_requests_go_alone() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    made = backend(handle)
    await ask(made, 3, rows=16)
    await ask(made, 3, rows=17)
    assert handle.calls == [3, 1, 1, 1]


async def test_where_replicas_follow_the_load_each_request_is_a_call() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    made = backend(handle, autoscaling={"max_replicas": 2})
    await ask(made, 3)
    assert handle.calls == [1, 1, 1]


async def test_what_a_batch_has_is_learned_from_the_replica() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    made = backend(handle)
    await ask(made, 2, rows=17)
    handle.sizes = Sizes(128, 4096)
    await ask(made, 1)
    await ask(made, 2, rows=17)
    assert handle.calls == [1, 1, 1, 2]


async def test_two_calls_a_replica_are_under_way_before_anybody_waits() -> None:
    handle = Handle(None)
    made = backend(handle, timeout_seconds=60.0, num_replicas=2)
    tasks = []
    for _ in range(5):
        tasks.append(asyncio.create_task(made.infer(INPUTS, 1)))
        for _ in range(3):
            await asyncio.sleep(0)
    assert handle.calls == [1, 1, 1, 1]
    for task in tasks:
        task.cancel()
    assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {
        asyncio.CancelledError
    }


async def test_whose_time_is_over_while_it_waits_is_told_so_and_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.backends.grouping._PATIENCE_SECONDS", 60.0)
    handle = Handle(None)
    made = backend(handle, timeout_seconds=60.0)
    under_way = []
    for _ in range(2):
        under_way.append(asyncio.create_task(made.infer(INPUTS, 1)))
        await asyncio.sleep(0.001)
    outcomes = await ask(made, 3, deadline=time.perf_counter() + 0.01)
    assert {type(outcome) for outcome in outcomes} == {DeadlineExceededError}
    assert handle.calls == [1, 1]
    # They had no chance: it proves nothing.
    handle.reply = ("computed", ({}, 0.0, 0.0))
    under_way.pop().cancel()
    await asyncio.sleep(0.001)
    assert isinstance((await ask(made, 1))[0], Computed)
    under_way.pop().cancel()


async def test_a_replica_that_dies_fails_all_of_a_call_and_is_away() -> None:
    handle = Handle(RayActorError())
    handle.alive = False
    made = backend(handle)
    outcomes = await ask(made, 3)
    assert {type(outcome) for outcome in outcomes} == {BackendUnavailableError}
    assert {type(outcome) for outcome in await ask(made, 3)} == {BackendUnavailableError}
    assert handle.calls == [3]


async def test_a_call_that_ray_serve_does_not_take_sheds_all_of_it() -> None:
    handle = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=8))
    made = backend(handle)
    assert {type(outcome) for outcome in await ask(made, 3)} == {QueueFullError}
    assert {type(outcome) for outcome in await ask(made, 3)} == {QueueFullError}
    assert handle.calls == [3, 3]
