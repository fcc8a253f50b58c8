"""The port: who may connect, who is connected, and how it closes without losing a request."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import time
from typing import Protocol

from serve_app.asgi import Handler
from serve_app.dataport.answers import Heads
from serve_app.dataport.connection import Connection
from serve_app.dataport.incoming import Request
from serve_app.dataport.limits import Limits
from serve_app.dataport.line import Line
from serve_app.dataport.resting import Resting
from serve_app.errors import LineFullError, PortTakenError, RequestError

_log = logging.getLogger("serve_app")

_BACKLOG = 4096
_OTHER_FILES = 1024
"""Of Ray, ONNX Runtime and the store."""
_ACCEPTED_AT_ONCE = 512
_BEGUN_AT_ONCE = 64
"""Of those who wait for their turn."""
_GROWTH, _GROWTH_SECONDS = 16, 0.01
"""So many more are begun, so often: from 64 to 512 under way in a third of a second."""
_RETRY_SECONDS = 0.25
_LOOK_SECONDS = 0.5
_FAREWELL_SECONDS = 1.0
_DRAIN_PAUSE_SECONDS = 0.02
_SHORT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Watch(Protocol):
    """Told what happens at the port."""

    def connections(self, count: int) -> None:
        """So many are connected now."""
        ...

    def rested(self) -> None:
        """A refused client has to rest."""
        ...

    def refused(self, reason: str) -> None:
        """What a client sent is not passed on to the application."""
        ...


class DataPort:
    """Serves an ASGI application that answers whole, with its length. Belongs to one event loop.

    Gateways of one machine share a port by SO_REUSEPORT: the system spreads connections over them.
    At `max_connections` it stops accepting: who comes then waits in the system's queue and costs
    nothing, and connections that are idle make room.
    """

    def __init__(self, application: Handler, limits: Limits, watch: Watch) -> None:
        self.application = application
        self.limits = limits
        self.heads = Heads()
        self.line_full = LineFullError(limits.max_wait_seconds)
        self.draining = False
        self.crowded = False
        self._watch = watch
        self._resting = Resting(limits.rest_seconds)
        self._connections: set[Connection] = set()
        self._in_flight = 0
        self._line: Line[Connection] = Line(limits.max_wait_seconds)
        self._refilling = False
        """Whether some of those who wait are passed on in the loop's next turn."""
        self._growing: asyncio.TimerHandle | None = None
        self._promised = 0
        """Accepted, and not joined yet."""
        self._opening: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._accepting = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    def open(self, host: str, port: int) -> int:
        """Listen; gives the port, which the system chooses for 0. To be called on the loop.

        Raises:
            PortTakenError: it is not free.
        """
        self._loop = asyncio.get_running_loop()
        raise_file_limit(self.limits.max_connections)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_INET6:
                # At `::` clients over IPv4 are answered too, whatever the system's default.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise PortTakenError(
                f"the data port {host}:{port} cannot be opened ({error.strerror}): "
                "choose another as gateway.data_port.port"
            ) from error
        listener.setblocking(False)
        self._socket = listener
        self._accept_from_now()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
        opened: int = listener.getsockname()[1]
        return opened

    async def close(self, grace_seconds: float) -> None:
        """Accept nobody any more, answer what was asked, for at most so long, and go.

        Clients learn it with their next answer. Closing their idle connections at once would cut
        off requests that are on their way; so that waits a second, or half of the time.
        """
        if self._socket is None:
            return
        self.draining = True
        while self._accept():  # the system has told them that they are connected
            pass
        self._stop_accepting()
        self._socket.close()
        self._socket = None
        self._resting.close()
        now = self._loop.time()
        end, idle_until = now + grace_seconds, now + min(_FAREWELL_SECONDS, grace_seconds / 2)
        while (self._connections or self._opening) and self._loop.time() < end:
            if self._loop.time() >= idle_until:
                for connection in tuple(self._connections):
                    connection.drain()
            await asyncio.sleep(_DRAIN_PAUSE_SECONDS)
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._connections):
            connection.abort()

    # What connections ask of their house.

    def joined(self, connection: Connection) -> None:
        """See `House`."""
        self._promised -= 1
        self._connections.add(connection)
        self._watch.connections(len(self._connections))

    def left(self, connection: Connection) -> None:
        """See `House`."""
        self._connections.discard(connection)
        self._watch.connections(len(self._connections))
        self._accept_if_room()

    def admits(self, request: Request, waited_seconds: float) -> bool:
        """See `House`. Health and metrics are asked by GET, and go before."""
        late = waited_seconds >= self.limits.max_wait_seconds
        if (late or self.busy()) and request.scope["method"] == "POST":
            return False
        self._in_flight += 1
        return True

    def busy(self) -> bool:
        """See `House`."""
        return len(self._line) > 0 or self._in_flight >= self.limits.max_in_flight

    def has_line(self, waited_seconds: float) -> bool:
        """See `House`."""
        return self.busy() and self._line.has_room(waited_seconds)

    def waits(self, connection: Connection) -> None:
        """See `House`."""
        self._line.join(connection)

    def ended(self) -> None:
        """See `House`."""
        self._in_flight -= 1
        if not self._refilling and len(self._line):
            # Not in between: a batch's answers are written one after the other, and then requests
            # are begun one after the other.
            self._refilling = True
            self._loop.call_soon(self._refill)

    def _refill(self) -> None:
        """Begin as many as were answered, but not a large batch's worth of them at once.

        So where a fast model answers in large batches fewer are soon under way than might be, and
        what they hold stays in the processor's caches: with 4,096 connections to the int8 student
        some 140 instead of 512, and 2 to 3 % more answers a second.
        """
        self._refilling = False
        self._begin(_BEGUN_AT_ONCE)

    def _grow(self) -> None:
        """And where nothing comes of that, as with a slow model, more and more."""
        self._growing = None
        self._begin(_GROWTH)

    def _begin(self, most: int) -> None:
        """So many of those who wait, in their order, and later more where there is room.

        All are read before the first begins, as the parser is in the processor's caches then; with
        4,096 connections that makes 3 to 8 % more answers a second.
        """
        line = self._line
        ready = line.leave(min(most, self.limits.max_in_flight - self._in_flight))
        for connection in ready:
            connection.begin()
        self._in_flight += len(ready)
        room = self._in_flight < self.limits.max_in_flight
        if room and len(line) and self._growing is None:
            self._growing = self._loop.call_later(_GROWTH_SECONDS, self._grow)

    def rests(self, connection: Connection) -> bool:
        """See `House`."""
        if self.draining or not self._resting.add(connection):
            return False
        self._watch.rested()
        return True

    def refused(self, error: RequestError | LineFullError) -> None:
        """See `House`."""
        self._watch.refused(error.reason)

    # Accepting.

    def _full(self) -> bool:
        return len(self._connections) + self._promised >= self.limits.max_connections

    def _accept_if_room(self) -> None:
        if not self._accepting and self._socket is not None and not self._full():
            self.crowded = False
            self._accept_from_now()

    def _accept_from_now(self) -> None:
        if self._socket is not None and not self._accepting:
            self._accepting = True
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _stop_accepting(self) -> None:
        if self._socket is not None and self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._socket.fileno())

    def _accept(self) -> bool:
        """Accept some; whether there may be more."""
        assert self._socket is not None
        for _ in range(_ACCEPTED_AT_ONCE):
            if self._full() and not self.draining:
                self.crowded = True
                self._stop_accepting()
                return False
            try:
                client, _ = self._socket.accept()
            except BlockingIOError:
                return False
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _SHORT_OF_FILES:
                    raise
                _log.error("no more connections: %s", error.strerror)
                self._stop_accepting()
                self._loop.call_later(_RETRY_SECONDS, self._accept_from_now)
                return False
            client.setblocking(False)
            self._promised += 1
            opening = self._loop.create_task(self._take(client))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return True

    async def _take(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._connection, client)
        except OSError as error:
            client.close()
            self._promised -= 1
            self._accept_if_room()
            _log.info("a client went before it was there: %s", error)

    def _connection(self) -> Connection:
        return Connection(self, self._loop)

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.look(now)


def raise_file_limit(connections: int) -> None:
    """Each connection is an open file, and many shells allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < connections + _OTHER_FILES:
        _log.warning(
            "data port: this process may have %d files open, too few for %d connections", wanted,
            connections,
        )  # fmt: skip
