"""Clients that were told to come back later, and are not listened to until then.

To refuse a request costs a good part of what it costs to answer a small model's: reading it, and
writing that it was not answered. Clients that ask again at once, as many do whatever `Retry-After`
says, would take a gateway's whole time. What comes next over a connection that was refused is
therefore kept as bytes for a while, and with more than that TCP holds the client back. So many are
woken a second that refusing takes a few per cent of a core; the fewer rest, the sooner each is
woken, and a single one hardly rests at all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

WOKEN_PER_SECOND = 1000.0
_TICK_SECONDS = 0.01


class Sleeper(Protocol):
    """Who rests."""

    def wake(self) -> None:
        """Go on."""
        ...


class Resting:
    """Wakes those who rest, in their order. Belongs to one event loop."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._sleepers: deque[tuple[float, Sleeper]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sleeper: Sleeper) -> bool:
        """Let somebody rest; False if nobody has to."""
        if self._longest_seconds <= 0:
            return False
        self._sleepers.append((time.monotonic() + self._longest_seconds, sleeper))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        return True

    def close(self) -> None:
        """Wake all of them, and let nobody rest any more."""
        self._longest_seconds = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._sleepers:
            self._sleepers.popleft()[1].wake()

    def _tick(self) -> None:
        sleepers, now = self._sleepers, time.monotonic()
        share = int(WOKEN_PER_SECOND * _TICK_SECONDS)
        while sleepers and (share > 0 or sleepers[0][0] <= now):
            share -= 1
            sleepers.popleft()[1].wake()
        self._timer = None
        if sleepers:
            self._timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
