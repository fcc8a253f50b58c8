"""Whose turn it is: a queue in which callers take turns, counted in rows.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) by caller: virtual time is counted in rows,
every caller has a clock that its computed rows move on, and the caller whose clock is furthest
behind is next. One who comes back after a rest starts at the present, without credit for it. So of
callers who all have work waiting each gets the same rows, however many requests one of them sends
or how large they are; within a caller, first come is first served.

With a single caller this is a deque, and a heap of one entry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import NamedTuple

from serve_app.runners.base import Arrays

_REMEMBERED = 1024
"""Callers whose clocks are kept; beyond it those who owe nothing are forgotten."""


class Computed(NamedTuple):
    """A request's share of a batch. Times in seconds; the inference is the whole batch's."""

    outputs: Arrays
    queue_seconds: float
    infer_seconds: float


@dataclass(eq=False, slots=True)
class Waiting:
    """A request in the queue, or in the batch that is being computed."""

    inputs: Arrays
    rows: int
    since: float
    deadline: float
    future: asyncio.Future[Computed]
    caller: str = ""
    queued: bool = True


@dataclass(eq=False, slots=True)
class _Caller:
    clock: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)


class FairQueue:
    """Requests that wait. Those whose future is done are passed over."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows of the requests that wait."""
        self._callers: dict[str, _Caller] = {}
        self._turns: list[tuple[int, int, _Caller]] = []
        self._arrivals = 0
        self._now = 0
        self._latest = 0
        self._withdrawn = 0
        self._remembered = _REMEMBERED

    def push(self, waiting: Waiting) -> None:
        """Let a request wait."""
        caller = self._callers.get(waiting.caller) or self._admit(waiting.caller)
        if not caller.waiting:
            if caller.clock < self._now:
                caller.clock = self._now
            self._arrivals += 1
            heappush(self._turns, (caller.clock, self._arrivals, caller))
        caller.waiting.append(waiting)
        self.rows += waiting.rows

    def first(self) -> Waiting | None:
        """The request whose turn it is; it stays."""
        while self._turns:
            waiting = self._turns[0][2].waiting[0]
            if waiting.queued:
                return waiting
            self._leave(0)
            self._withdrawn -= 1
        return None

    def take(self) -> Waiting:
        """Remove what `first` returned; its rows move the caller's clock on."""
        self._now, _, caller = self._turns[0]
        waiting = caller.waiting[0]
        self._leave(waiting.rows)
        waiting.queued = False
        self.rows -= waiting.rows
        return waiting

    def withdraw(self, waiting: Waiting) -> None:
        """Forget a request wherever it stands, without charge; nothing if it was taken."""
        if not waiting.queued:
            return
        waiting.queued = False
        waiting.inputs = {}
        self.rows -= waiting.rows
        self._withdrawn += 1
        if self._withdrawn > _REMEMBERED:
            self._sweep()

    def __iter__(self) -> Iterator[Waiting]:
        """Those who wait, caller by caller."""
        for _, _, caller in self._turns:
            yield from (waiting for waiting in caller.waiting if waiting.queued)

    def _leave(self, rows: int) -> None:
        """The first request goes; its caller queues up again if it has more."""
        clock, _, caller = self._turns[0]
        caller.waiting.popleft()
        caller.clock = clock = clock + rows
        if clock > self._latest:
            self._latest = clock
        if caller.waiting:
            self._arrivals += 1
            heapreplace(self._turns, (clock, self._arrivals, caller))
            return
        heappop(self._turns)
        if not self._turns:
            # Nobody waits, so nobody owes anything: all start at the present again.
            self._now = self._latest

    def _admit(self, name: str) -> _Caller:
        if len(self._callers) >= self._remembered:
            self._callers = {
                name: caller
                for name, caller in self._callers.items()
                if caller.waiting or caller.clock > self._now
            }
            self._remembered = max(_REMEMBERED, 2 * len(self._callers))
        caller = self._callers[name] = _Caller()
        return caller

    def _sweep(self) -> None:
        """Take those out who withdrew, or a long inference would let them pile up."""
        for _, _, caller in self._turns:
            caller.waiting = deque(waiting for waiting in caller.waiting if waiting.queued)
        self._turns = [turn for turn in self._turns if turn[2].waiting]
        self._turns.sort(key=lambda turn: turn[:2])
        self._withdrawn = 0
