from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError

from serve_app.backends.deployment import DeploymentBackend
from serve_app.batching import Computed
from serve_app.errors import BackendUnavailableError, QueueFullError, VariantFailedError

INPUTS = {"x": np.zeros((1, 2), np.float32)}


class Handle:
    """Stands in for a DeploymentHandle: `reply` is what calls return, or raise."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.alive = True
        self.calls = 0
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

    async def _infer(self, inputs: Any, rows: int) -> Any:
        self.calls += 1
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
    ("tag", "error"), [("full", QueueFullError), ("failed", VariantFailedError)]
)
async def test_tags_become_errors_again(tag: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="because"):
        await backend(Handle((tag, "because"))).infer(INPUTS, 1)


@pytest.mark.parametrize("reply", [RayActorError(), None])
async def test_one_that_is_away_is_not_waited_for_again_until_it_is_back(
    reply: Exception | None,
) -> None:
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
