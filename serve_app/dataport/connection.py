"""One client's connection: requests are read whole and answered one after the other.

Why not uvicorn, whose parser is the same: it hands a body on in pieces as they come, makes timers
and events for each request, and can neither let a refused client rest nor stop accepting.
`make profile` measures both around the same application.
"""

from __future__ import annotations

import asyncio
import logging
import select
import time
from collections.abc import Sequence
from typing import Any, Protocol

from serve_app.asgi import Handler, Header, Message
from serve_app.dataport.answers import CONTINUE, Heads
from serve_app.dataport.incoming import Incoming, Request
from serve_app.dataport.limits import Limits
from serve_app.errors import BodyTimeoutError, LineFullError, RequestError

_log = logging.getLogger("serve_app")

_SHED = 429
_SPARE = 0.25
"""Of the line has to be free for those who rested: else they would mostly be refused twice."""

_LINGER_SECONDS = 2.0
"""How long a client that was refused may go on sending: a reset would take its answer away."""

_IDLE_SECONDS = 1.0
"""How long a connection may be idle when others wait for one."""


class House(Protocol):
    """What a connection shares with the others of its port."""

    application: Handler
    limits: Limits
    heads: Heads
    line_full: LineFullError
    """What those are told for whom there is no place in the line."""
    draining: bool
    crowded: bool
    """Whether there is room for no more connections, and others may wait for one."""

    def joined(self, connection: Connection) -> None:
        """A client is there."""
        ...

    def left(self, connection: Connection) -> None:
        """It is gone."""
        ...

    def admits(self, request: Request, waited_seconds: float) -> bool:
        """Whether one that has waited so long is passed on now; if so it has to be."""
        ...

    def busy(self) -> bool:
        """Whether requests by POST wait for their turn now."""
        ...

    def has_line(self, waited_seconds: float) -> bool:
        """Whether they do, and one more may that has waited so long."""
        ...

    def waits(self, connection: Connection) -> None:
        """It does: `ready` is called when its turn comes, and then `begin`."""
        ...

    def ended(self) -> None:
        """A request that was passed on is answered, or nobody waits for it."""
        ...

    def rests(self, connection: Connection) -> bool:
        """Whether a client that was just told to come back later has to; it is woken then."""
        ...

    def refused(self, error: RequestError | LineFullError) -> None:
        """What a client sent is not passed on."""
        ...


class Connection(asyncio.Protocol):
    """Between `House` and one client. Belongs to the house's event loop."""

    __slots__ = (
        "_answering", "_body", "_headers", "_house", "_incoming", "_leaving", "_loop", "_paused",
        "_queued", "_refusal", "_rested_seconds", "_resting", "_since", "_status", "_task",
        "_transport", "_unwritable",
    )  # fmt: skip

    _incoming: Incoming
    _transport: Any

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self._house = house
        self._loop = loop
        self._answering: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusal: RequestError | None = None
        self._since = time.monotonic()
        """Since when nothing is asked, or the client does not read, or the connection closes."""
        self._rested_seconds = 0.0
        """Of the next request's wait."""
        self._paused = self._queued = self._resting = self._unwritable = self._leaving = False
        self._body: bytes | None = None
        self._status = 0
        self._headers: Sequence[Header] = ()

    # The event loop's side.

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._incoming = Incoming(self._house.limits, peer[:2] if peer else None)
        self._house.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it asked is computed for nobody."""
        self._leaving = True
        self._house.left(self)
        if self._answering is not None and self._task is not None:
            self._answering = None
            self._task.cancel()
            self._house.ended()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._leaving or self._refusal is not None:
            return
        incoming, resting = self._incoming, self._resting
        waits = resting or (
            self._answering is None
            and not self._unwritable
            and self._house.has_line(self._rested_seconds)
        )
        if waits and incoming.put_off(data):
            if not resting:
                self._line_up()
            return
        try:
            incoming.feed(data)
        except RequestError as error:
            self._refusal = error
        self._next()
        # One that waits for its turn is listened to, for it may go.
        if resting or len(incoming.requests) > self._queued:
            self._pause()

    def eof_received(self) -> None:
        """The client sends no more, and is taken to be gone: the transport closes."""

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._unwritable = True
        self._since = time.monotonic()

    def resume_writing(self) -> None:
        """It does again."""
        self._unwritable = False
        self._since = time.monotonic()
        self._next()

    # The application's side.

    async def _receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            # Until the client goes, which ends the task.
            await self._loop.create_future()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
            return
        if message.get("more_body"):
            raise RuntimeError("the data port sends whole answers")
        request = self._answering
        if request is None or self._leaving:
            return
        house, incoming, scope = self._house, self._incoming, request.scope
        keep = self._keeps(request)
        head = house.heads.head(
            self._status, self._headers, close=not keep, old=scope["http_version"] == "1.0"
        )
        body: bytes = message.get("body", b"") if scope["method"] != "HEAD" else b""
        self._transport.write(head + body)
        self._answering = self._task = None
        self._headers = ()
        house.ended()
        if not keep:
            self._leave()
            return
        self._since = time.monotonic()
        if self._status == _SHED and house.rests(self):
            self._rest()
        elif self._paused or incoming.requests or incoming.expects or self._refusal is not None:
            self._next()

    async def _answer(self, request: Request) -> None:
        try:
            await self._house.application(request.scope, self._receive, self._send)
        except Exception:  # noqa: BLE001 - the process boundary: the log gets the trace
            _log.exception("%s failed", request.scope["path"])
        finally:
            if self._answering is request:
                # It found that there is nobody to answer, or failed, or something cancelled it.
                self._answering = None
                self._house.ended()
                if not self._leaving:
                    self._leave()

    # What is next.

    def _next(self) -> None:
        """Go on, if nothing is in the way."""
        if self._answering is not None or self._resting or self._unwritable or self._leaving:
            return
        house, requests = self._house, self._incoming.requests
        while requests:
            if self._queued:
                return
            waited_seconds = self._rested_seconds
            if house.admits(requests[0], waited_seconds):
                self.begin()
                return
            if house.has_line(waited_seconds):
                self._line_up()
                return
            if not self._shed(requests.popleft()):
                return
        if self._refusal is not None:
            self._refuse(self._refusal)
        else:
            if self._incoming.expects:
                self._incoming.expects = False
                self._transport.write(CONTINUE)
            if self._paused:
                self._listen()

    def _line_up(self) -> None:
        self._queued = True
        self._house.waits(self)

    def _keeps(self, request: Request) -> bool:
        """Whether the connection stays after that answer: not for more than has been asked yet."""
        more = bool(self._incoming.requests) or self._refusal is not None
        return request.keep and (more or not self._house.draining)

    def _shed(self, request: Request) -> bool:
        """Tell a client to come back later; whether to go on with what it has asked besides."""
        house, keep = self._house, self._keeps(request)
        old = request.scope["http_version"] == "1.0"
        self._transport.write(house.heads.repeated(house.line_full, close=not keep, old=old))
        house.refused(house.line_full)
        self._since = time.monotonic()
        if not keep:
            self._leave()
            return False
        self._rested_seconds = 0.0
        # One that came too early may ask again at once where it would surely be let in.
        full = house.busy() and not house.has_line(_SPARE * house.limits.max_wait_seconds)
        if full and house.rests(self):
            self._rest()
            return False
        return not self._unwritable

    def _rest(self) -> None:
        """What comes first meanwhile is kept as bytes; with more, TCP holds the client back."""
        self._resting = True
        if self._asks():
            self._pause()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _asks(self) -> bool:
        """Whether something that was asked, if only in part, is not being answered yet."""
        incoming = self._incoming
        return (
            bool(incoming.requests or incoming.unread)
            or incoming.partial_since is not None
            or self._refusal is not None
        )

    def _listen(self) -> None:
        """Read again. A request that waited half read has its whole time before it."""
        self._paused = False
        if self._incoming.partial_since is not None:
            self._incoming.partial_since = time.monotonic()
        self._transport.resume_reading()

    def _leave(self) -> None:
        """Close once everything is written."""
        if self._paused or self._asks():
            self._linger()
            return
        self._leaving = True
        self._since = time.monotonic()
        self._transport.close()

    def _refuse(self, error: RequestError) -> None:
        """The last answer."""
        self._house.refused(error)
        self._transport.write(self._house.heads.refusal(error))
        self._linger()

    def _linger(self) -> None:
        """Close, but read for a moment what the client still sends, and throw it away.

        To close with something unread resets the connection, and the last answer may be lost.
        """
        self._leaving = True
        self._since = time.monotonic()
        try:
            self._transport.write_eof()
        except OSError:  # the client is gone, and the loop has not come to it
            self._transport.abort()
            return
        if self._paused:
            self._listen()

    # The house's side.

    def ready(self) -> bool:
        """Its turn has come: whether there is a request to `begin`.

        There is none if the client has gone, or if what was put off is no request, or not all of
        one.
        """
        self._queued = False
        if self._leaving:
            return False
        self._read()
        if self._incoming.requests:
            return True
        self._next()
        return False

    def _read(self) -> None:
        if self._incoming.unread:
            try:
                self._incoming.read()
            except RequestError as error:
                self._refusal = error

    def begin(self) -> None:
        """Pass the next request on."""
        request = self._incoming.requests.popleft()
        self._rested_seconds = 0.0
        self._answering, self._body = request, request.body
        self._task = self._loop.create_task(self._answer(request))

    def wake(self) -> None:
        """It has rested.

        A request that came meanwhile has waited since then, and may have to be refused once more:
        it would be answered too late.
        """
        self._resting = False
        if self._leaving:
            return
        self._since = time.monotonic()
        came = self._incoming.came()
        self._rested_seconds = 0.0 if came is None else time.perf_counter() - came
        if self._incoming.unread and self._house.has_line(self._rested_seconds):
            self._line_up()
            return
        self._read()
        self._next()

    def drain(self) -> None:
        """Go, unless there is something to answer: that answer is the last."""
        if not (self._leaving or self._answering is not None or self._asks()):
            self._leave()

    def abort(self) -> None:
        """Go now."""
        self._leaving = True
        self._transport.abort()

    def look(self, now: float) -> None:
        """See off who takes too long."""
        limits, since = self._house.limits, self._since
        if self._unwritable:
            if now - since > limits.body_timeout_seconds:
                self.abort()
        elif self._leaving:
            if now - since > _LINGER_SECONDS:
                self.abort()
        elif self._answering is not None or self._resting or self._queued:
            return
        elif (begun := self._incoming.partial_since) is not None:
            if now - begun > limits.body_timeout_seconds:
                self._refuse(
                    BodyTimeoutError(
                        f"body: expected within {limits.body_timeout_seconds:g} s, "
                        "given only a part of it"
                    )
                )
        else:
            idle_seconds = _IDLE_SECONDS if self._house.crowded else limits.keep_alive_seconds
            if now - since > idle_seconds and not self._has_unread():
                self._leave()

    def _has_unread(self) -> bool:
        """Whether the client has sent something that the loop has not come to: no idle one then."""
        if self._transport.is_closing():  # it has no socket any more
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
