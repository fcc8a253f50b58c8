"""One timer for the deadlines of all requests of a batcher.

A timer per request would cost each of them some microseconds, to go off for hardly any. This one is
set to the earliest deadline it was told; when it goes off it looks at those who are still there.
With time limits of two seconds and all answers in time, that is once in two seconds.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from serve_app.fairness import Waiting


class Expiry:
    """Calls `expire` with each of the `live` requests whose deadline has passed, and soon."""

    def __init__(
        self, live: Callable[[], Iterable[Waiting]], expire: Callable[[Waiting], None]
    ) -> None:
        self.next = math.inf
        """When it looks again, a reading of `time.perf_counter()`; infinite: not at all."""
        self._live = live
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Look at `deadline` at the latest."""
        if deadline >= self.next:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.next = deadline
        delay = max(0.0, deadline - time.perf_counter())
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def close(self) -> None:
        """Look no more, and let go of who was looked at: a model's session may hang on them."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.next = None, math.inf
        self._live, self._expire = tuple, _ignore

    def _look(self) -> None:
        self._timer, self.next = None, math.inf
        now = time.perf_counter()
        live = [waiting for waiting in self._live() if not waiting.future.done()]
        for waiting in live:
            if waiting.deadline <= now:
                self._expire(waiting)
        remaining = min((each.deadline for each in live if each.deadline > now), default=math.inf)
        if remaining < math.inf:
            self.watch(remaining)


def _ignore(waiting: Waiting) -> None:
    pass
