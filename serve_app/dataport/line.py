"""Those who wait for their turn, and whether it would come soon enough."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

_WINDOW_SECONDS = 0.1
_WEIGHT = 0.1
"""How fast the line moves is told anew so often, and so much of it by the last time. A pause of the
process must not speak for a second: a line that is too short for a while makes many refusals, and
these take time as answers do."""

_LEAST = 64
"""So many may always wait: that few are begun together."""


class Standing(Protocol):
    """Who stands in it."""

    def ready(self) -> bool:
        """Its turn has come: whether it has something to begin."""
        ...


Who = TypeVar("Who", bound=Standing)


class Line(Generic[Who]):
    """First come, first served. It is bounded in seconds and not in heads: at 15,000 requests a
    second 4,096 wait for a quarter of one, at 1,000 for four, and then all would be answered in
    turn, and each too late.
    """

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._waiting: deque[Who] = deque()
        self._per_second = math.inf
        """Left it; infinite: it has not been there for a window yet."""
        self._left = 0
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, waited_seconds: float) -> bool:
        """Whether one more, that has waited so long, would have its turn soon enough."""
        if waited_seconds >= self._longest_seconds:
            return False
        count = len(self._waiting)
        if count < _LEAST:
            return True
        now = time.monotonic()
        elapsed_seconds = now - self._since
        if elapsed_seconds >= _WINDOW_SECONDS:
            lately = self._left / elapsed_seconds
            if self._per_second == math.inf:
                self._per_second = lately
            else:
                self._per_second += _WEIGHT * (lately - self._per_second)
            self._left, self._since = 0, now
        return count < self._per_second * (self._longest_seconds - waited_seconds)

    def join(self, who: Who) -> None:
        """Stand at its end."""
        if not self._waiting:
            self._per_second, self._left, self._since = math.inf, 0, time.monotonic()
        self._waiting.append(who)

    def leave(self, most: int) -> list[Who]:
        """Those whose turn it is, so many if they are there, each of them ready."""
        ready: list[Who] = []
        waiting = self._waiting
        before = len(waiting)
        while waiting and len(ready) < most:
            who = waiting.popleft()
            if who.ready():
                ready.append(who)
        self._left += before - len(waiting)
        return ready
