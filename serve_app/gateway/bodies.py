"""Bodies of requests, and an end to those that do not come.

HAProxy hands a request on as soon as its head is there, and Ray lets a gateway answer so many at
once: without a limit, some hundred clients that never finish their bodies would keep all others
out. A timer of its own for every request costs 5 µs; a note of who reads, and one timer that looks
through the notes, costs half a microsecond.
"""

from __future__ import annotations

import asyncio
import time

from serve_app.asgi import Receive, Scope
from serve_app.errors import BodyTimeoutError
from serve_app.gateway.http import read_body

_LOOKS = 4
"""How often within the time limit it is looked for bodies that are late."""

_LATE = -1.0


class Bodies:
    """Reads bodies up to a size and within a time. Belongs to one event loop."""

    def __init__(self, limit_bytes: int, timeout_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_seconds = timeout_seconds
        self._reading: dict[asyncio.Task[object], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            BodyTooLargeError: it is longer than the limit.
            BodyTimeoutError: it was not there in time, or up to a quarter of the time later.
            DisconnectedError: the client went away.
        """
        # Told the loop, it need not look for it: 0.1 µs instead of 0.3.
        task = asyncio.current_task(self._loop)
        assert task is not None  # a coroutine that runs has one
        self._reading[task] = time.monotonic()
        if self._timer is None:
            self._look_later()
        try:
            return await read_body(scope, receive, self._limit_bytes)
        except asyncio.CancelledError:
            if self._reading[task] != _LATE or task.uncancel():
                raise
            raise BodyTimeoutError(
                f"body: expected within {self._timeout_seconds:g} s, given only a part of it"
            ) from None
        finally:
            del self._reading[task]

    def _look_later(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._timeout_seconds / _LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        oldest = time.monotonic() - self._timeout_seconds
        for task, since in self._reading.items():
            if _LATE < since < oldest:
                self._reading[task] = _LATE
                task.cancel()
        if self._reading:
            self._look_later()
