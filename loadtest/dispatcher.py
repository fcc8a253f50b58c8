"""The open loop: sends on schedule, whatever the server does.

A closed loop waits for an answer before it sends the next request, so a server that stalls for a
second is asked nothing in that second and the stall is counted once. Real callers keep coming.
Here one greenlet walks the schedule and sends each request over one of a pool of connections, whose
answers are read in callbacks; a request is timed from the moment it was meant to leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import Event

from loadtest.connection import BROKEN, Connection, Target
from loadtest.recorder import Observer
from loadtest.timer import Timer, make_timer

_LEAD_SECONDS = 0.01
_GIVE_WAY_SECONDS = 0.0005
_LOOK_AWAY_SECONDS = 0.0005
_LOOK_SECONDS = 1.0


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
        timeout_seconds: float = 30.0,
    ) -> None:
        """`idle` holds connections left by an earlier dispatcher, and takes this one's back; who
        waits for an answer longer than `timeout_seconds` is given up."""
        self._target = target
        self._requests = requests
        self._observer = observer
        self._max_in_flight = max_in_flight
        self._idle: list[Connection] = [] if idle is None else idle
        self._timeout_seconds = timeout_seconds
        self._in_flight: dict[Connection, tuple[float, float]] = {}
        """When their requests were meant to leave, and left; the oldest first."""
        self._landed = Event()
        self._gave_way = self._looked = 0.0

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
        return sum(intended < oldest for intended, _ in self._in_flight.values())

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
                self._give_up_late()
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
        if len(self._in_flight) >= self._max_in_flight and intended < now + _LOOK_AWAY_SECONDS:
            self._look_away(timer)
            return
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

    def _look_away(self, timer: Timer) -> None:
        """The pool is full: for half a millisecond nothing is sent and no answer read.

        To look for a free connection at each of tens of thousands of requests a second takes from
        the server that is asked too much. So does to wait in the event loop: every other answer
        wakes it there, and who writes that answer pays for the waking, 8 µs on a virtual machine,
        a tenth of the request. Who finds a free connection, or an answer, is late by this at most.
        """
        time.sleep(_LOOK_AWAY_SECONDS)
        timer.wait_until(time.monotonic())

    def _hand_over(self, intended: float, request: bytes) -> None:
        connection = self._idle.pop() if self._idle else Connection(self._target)
        self._in_flight[connection] = intended, time.monotonic()
        if connection.is_open:
            self._send(connection, request)
        else:
            # To connect takes a while, in which others are due.
            gevent.spawn(self._send, connection, request)

    def _send(self, connection: Connection, request: bytes) -> None:
        try:
            if not connection.is_open:
                connection.open()
            if connection not in self._in_flight:  # it was given up meanwhile
                connection.close()
                return
            connection.send(request, self._answered)
        except OSError:
            if connection in self._in_flight:
                self._answered(connection, BROKEN)

    def _answered(self, connection: Connection, status: int) -> None:
        ended = time.monotonic()
        intended, started = self._in_flight.pop(connection)
        self._idle.append(connection)
        body = connection.body if status else b""
        self._observer.answered(intended, started, ended, status, body)
        if not self._in_flight:
            self._landed.set()

    def _give_up_late(self) -> None:
        """Now and then, for it is no business of each request."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        while self._in_flight:
            connection, (intended, started) = next(iter(self._in_flight.items()))
            if now - started < self._timeout_seconds:
                return
            del self._in_flight[connection]
            connection.close()
            self._observer.answered(intended, started, now, BROKEN, b"")

    def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the answers on their way, then give up on the rest."""
        self._landed.clear()
        if self._in_flight:
            self._landed.wait(seconds)
        now = time.monotonic()
        for connection, (intended, started) in self._in_flight.items():
            connection.close()  # half an answer must not be read later
            self._observer.unfinished(intended, started, now)
        self._in_flight.clear()

    def close(self) -> None:
        """Close every idle connection."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
