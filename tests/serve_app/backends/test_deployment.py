from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from serve_app.backends.deployment import DeploymentBackend
from serve_app.batching import Computed
from serve_app.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    QueueFullError,
    VariantFailedError,
)
from serve_app.terms import Terms

INPUTS = {"x": np.zeros((1, 2), np.float32)}


class Handle:
    """Stands in for a DeploymentHandle: `reply` is what calls return, or raise."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.alive = True
        self.calls = 0
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

    async def _infer(self, inputs: Any, rows: int, caller: str, seconds: float) -> Any:
        self.calls += 1
        self.terms.append((caller, seconds))
        if self.reply is None:
            await asyncio.Event().wait()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def _describe(self) -> Any:
        if not self.alive:
            raise RayActorError
        return {"platform": "p", "detail": "d"}


class _Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


def backend(handle: Handle, timeout_seconds: float = 5.0) -> DeploymentBackend:
    return DeploymentBackend(handle, "original", timeout_seconds)  # type: ignore[arg-type]


async def test_a_reply_is_passed_on_as_it_was_computed() -> None:
    handle = Handle(("computed", ({"score": np.ones(1)}, 0.1, 0.2)))
    computed = await backend(handle).infer(INPUTS, 1)
    assert computed == Computed({"score": np.ones(1)}, 0.1, 0.2)
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
    with pytest.raises(error, match="because") as raised:
        await backend(Handle(reply)).infer(INPUTS, 1)
    assert getattr(raised.value, "retry_after_seconds", 3) == 3


async def test_a_call_that_ray_serve_does_not_take_is_shed_and_nobody_is_away() -> None:
    handle = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=8))
    made = backend(handle)
    for _ in range(2):
        with pytest.raises(QueueFullError, match="'original' is full"):
            await made.infer(INPUTS, 1)
    assert handle.calls == 2


async def test_the_caller_and_the_time_that_is_left_go_along() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    made = backend(handle, timeout_seconds=5.0)
    await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 2.0))
    await made.infer(INPUTS, 1)
    (caller, seconds), configured = handle.terms
    assert caller == "a"
    assert 0 < seconds <= 2.0
    assert configured == ("", 5.0)


async def test_whose_time_is_over_is_not_sent_on() -> None:
    handle = Handle(("computed", ({}, 0.0, 0.0)))
    with pytest.raises(DeadlineExceededError):
        await backend(handle).infer(INPUTS, 1, Terms("a", time.perf_counter() - 1.0))
    assert handle.calls == 0


async def test_an_impatient_caller_does_not_make_a_replica_that_answers_away() -> None:
    handle = Handle(None)
    made = backend(handle, timeout_seconds=60.0)
    for _ in range(2):
        with pytest.raises(DeadlineExceededError, match="at most 60 s"):
            await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 0.01))
    assert handle.calls == 2
    handle.alive = False
    with pytest.raises(DeadlineExceededError):
        await made.infer(INPUTS, 1, Terms("a", time.perf_counter() + 0.01))
    await asyncio.sleep(0.05)
    with pytest.raises(BackendUnavailableError):
        await made.infer(INPUTS, 1)
    assert handle.calls == 3


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
    assert handle.calls == 1
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
