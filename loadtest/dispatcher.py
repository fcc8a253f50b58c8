"""The open loop: sends on schedule, whatever the server does.

A closed loop waits for an answer before it sends the next request, so a server that stalls for a
second is asked nothing in that second and the stall is counted once. Real callers keep coming.
Here one greenlet walks the schedule and hands each request to a pool of connections; a request is
timed from the moment it was meant to leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import gevent
from gevent import Greenlet
from geventhttpclient._parser import HTTPParseError

from loadtest.connection import Connection, Target
from loadtest.recorder import BROKEN, Observer
from loadtest.timer import Timer, make_timer

_LEAD_SECONDS = 0.01
_GIVE_WAY_SECONDS = 0.0005


@dataclass(frozen=True)
class Pace:
    """How a walk went: requests taken from the schedule and the seconds it took."""

    taken: int
    elapsed_seconds: float


class Dispatcher:
    """Sends prepared `requests`, in turn, over at most `max_in_flight` kept-alive connections."""

    def __init__(
        self,
        target: Target,
        requests: Sequence[bytes],
        observer: Observer,
        max_in_flight: int = 256,
        idle: list[Connection] | None = None,
    ) -> None:
        """`idle` holds connections left by an earlier dispatcher, and takes this one's back."""
        self._target = target
        self._requests = requests
        self._observer = observer
        self._max_in_flight = max_in_flight
        self._idle: list[Connection] = [] if idle is None else idle
        self._in_flight: dict[Greenlet, float] = {}
        self._gave_way = 0.0

    def warm(self, connections: int) -> None:
        """Open connections ahead, so that no request of the run pays for it. Raises OSError."""
        wanted = min(connections, self._max_in_flight)
        self._idle += [Connection(self._target) for _ in range(wanted - len(self._idle))]
        for connection in self._idle[-wanted:]:
            if not connection.is_open:
                connection.open()

    def overdue(self, limit_seconds: float) -> int:
        """Requests without an answer whose response time is already beyond the limit."""
        oldest = time.monotonic() - limit_seconds
        return sum(intended < oldest for intended in self._in_flight.values())

    @property
    def in_flight(self) -> int:
        """Requests awaiting their answer."""
        return len(self._in_flight)

    def walk(self, times: Iterable[float], stop: Callable[[], bool]) -> Pace:
        """Send at `times` (seconds from now) until they end or `stop` says so."""
        timer, coming = make_timer(), iter(times)
        start = time.monotonic() + _LEAD_SECONDS
        taken = 0
        try:
            offset = next(coming, None)
            while offset is not None:
                self._wait(timer, start + offset)
                if stop():
                    break
                if len(self._in_flight) < self._max_in_flight:
                    request = self._requests[taken % len(self._requests)]
                    self._hand_over(start + offset, request)
                    taken += 1
                    offset = next(coming, None)
                    continue
                # All that are due: one by one they would take the time that answers need.
                now, due = time.monotonic() - start, 0
                while offset is not None and offset <= now:
                    due += 1
                    offset = next(coming, None)
                self._observer.dropped(due)
                taken += due
        finally:
            timer.close()
        return Pace(taken, time.monotonic() - start)

    def _wait(self, timer: Timer, intended: float) -> None:
        now = time.monotonic()
        if intended <= now:
            # Late: still let answers be read, or the lateness feeds itself. Not for each request:
            # at tens of thousands a second that alone would make all of them late.
            if now - self._gave_way > _GIVE_WAY_SECONDS:
                gevent.sleep(0)
                self._gave_way = time.monotonic()
            return
        while intended > time.monotonic():
            timer.wait_until(intended)
        self._gave_way = time.monotonic()

    def _hand_over(self, intended: float, request: bytes) -> None:
        connection = self._idle.pop() if self._idle else Connection(self._target)
        greenlet = Greenlet(self._send, connection, intended, request)
        self._in_flight[greenlet] = intended
        greenlet.start()

    def _send(self, connection: Connection, intended: float, request: bytes) -> None:
        started = time.monotonic()
        try:
            status = connection.exchange(request)
        except (OSError, HTTPParseError):
            status = BROKEN
        except gevent.GreenletExit:
            del self._in_flight[gevent.getcurrent()]
            self._observer.unfinished(intended, started, time.monotonic())
            raise
        ended = time.monotonic()
        del self._in_flight[gevent.getcurrent()]
        self._idle.append(connection)
        self._observer.answered(
            intended, started, ended, status, connection.body if status else b""
        )

    def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the answers on their way, then give up on the rest."""
        gevent.joinall(list(self._in_flight), timeout=seconds)
        gevent.killall(list(self._in_flight), block=True)
        now = time.monotonic()
        for intended in self._in_flight.values():  # handed over, but never had its turn
            self._observer.unfinished(intended, now, now)
        self._in_flight.clear()

    def close(self) -> None:
        """Close every idle connection."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
