"""One kept-alive HTTP/1.1 connection that sends bytes prepared beforehand.

On two cores shared with the server what the generator costs is load that the server does not get:
so an answer is read in a callback of the event loop, and no greenlet is made or switched to for a
request. The C parser (llhttp) is geventhttpclient's, as in locust's FastHttpUser.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gevent import Timeout, get_hub, socket
from gevent import ssl as gevent_ssl
from gevent.hub import Waiter
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

from loadtest.errors import OptionError

_BLOCK_BYTES = 65536
_READ, _WRITE = 1, 2
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

BROKEN = 0
"""In place of a status: the connection broke before the answer was whole."""

Answered = Callable[["Connection", int], None]
"""Told the HTTP status of an answer that is whole, or `BROKEN`. Called by the event loop: it must
not wait for anything."""


@dataclass(frozen=True)
class Target:
    """Where requests go: the parts of a base URL."""

    host: str
    port: int
    tls: bool

    @classmethod
    def from_url(cls, url: str) -> Target:
        """Raises OptionError unless it is http:// or https:// with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"{url!r} is not a URL like http://127.0.0.1:8000")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)

    @property
    def header(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def request_bytes(
    target: Target, path: str, content: bytes, headers: dict[str, str] | None = None
) -> bytes:
    """A whole POST request, head and body, ready to be sent; JSON unless `headers` say else."""
    named = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {target.header}\r\n"
        f"{lines}Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode("ascii") + content


class _Parser(HTTPResponseParser):
    """llhttp callbacks: notes the end of the message and gathers the body."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self.body = bytearray()

    def _on_message_begin(self) -> None:
        self.complete = False
        self.body = bytearray()

    def _on_message_complete(self) -> None:
        # An interim answer (1xx) ends a message as well, but not the exchange.
        self.complete = self.get_code() >= 200

    def _on_status(self, *_: Any) -> None: ...

    def _on_header_field(self, *_: Any) -> None: ...

    def _on_header_value(self, *_: Any) -> None: ...

    def _on_headers_complete(self, *_: Any) -> None: ...

    def _on_body(self, block: bytes) -> None:
        self.body += block


class Connection:
    """Sends one request at a time. Belongs to one event loop."""

    def __init__(self, target: Target, timeout_seconds: float = 30.0) -> None:
        """`timeout_seconds` is for connecting, and of `exchange`."""
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._socket: Any = None
        self._readable: Any = None
        self._writable: Any = None
        self._parser = _Parser()
        self._unsent: memoryview | None = None
        self._answered: Answered | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._socket is not None

    def open(self) -> None:
        """Connect now, so that the first request does not pay for it. Raises OSError."""
        address = (self._target.host, self._target.port)
        opened: Any = socket.create_connection(address, timeout=self._timeout_seconds)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._target.tls:
                context: ssl.SSLContext = gevent_ssl.create_default_context()
                opened = context.wrap_socket(opened, server_hostname=self._target.host)
            opened.setblocking(False)
        except BaseException:
            opened.close()
            raise
        self._socket, self._parser = opened, _Parser()
        # Also while nothing is awaited: it tells when the server closes.
        self._readable = get_hub().loop.io(opened.fileno(), _READ)
        self._readable.start(self._read)

    def send(self, request: bytes, answered: Answered) -> None:
        """Send `request` on an open connection; `answered` is called once, later.

        Raises:
            OSError: it breaks at once; `answered` is not called.
        """
        self._parser.complete = False
        self._answered = answered
        try:
            sent = self._socket.send(request)
        except _NOT_NOW:
            sent = 0
        except BaseException:
            self.close()
            raise
        if sent < len(request):
            self._unsent = memoryview(request)[sent:]
            self._writable = get_hub().loop.io(self._socket.fileno(), _WRITE)
            self._writable.start(self._write)

    def exchange(self, request: bytes) -> int:
        """Send `request`, opening the connection if need be; waits and returns the HTTP status.

        Raises OSError where the connection breaks or takes too long, and closes it.
        """
        if not self.is_open:
            self.open()
        waiter = Waiter()
        try:
            self.send(request, lambda _, status: waiter.switch(status))
            with Timeout(self._timeout_seconds, TimeoutError("no answer")):
                status = int(waiter.get())
        except BaseException:  # also a killed greenlet: half an answer must not be read later
            self.close()
            raise
        if status == BROKEN:
            raise ConnectionResetError("the connection broke")
        return status

    @property
    def body(self) -> bytes:
        """Body of the last answer."""
        return bytes(self._parser.body)

    def close(self) -> None:
        """Close; nobody is told any more."""
        self._answered = self._unsent = None
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._readable = self._writable = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # What the event loop calls.

    def _read(self) -> None:
        try:
            block = self._socket.recv(_BLOCK_BYTES)
            while self._target.tls and block and self._socket.pending():
                block += self._socket.recv(_BLOCK_BYTES)
        except _NOT_NOW:
            return
        except OSError:
            block = b""
        # What comes unasked is the server's goodbye.
        if not block or self._answered is None:
            self._break()
            return
        parser = self._parser
        try:
            parser.feed(block)
        except HTTPParseError:
            self._break()
            return
        if parser.complete:
            self._finish()

    def _write(self) -> None:
        assert self._unsent is not None  # as long as it is called
        try:
            sent = self._socket.send(self._unsent)
        except _NOT_NOW:
            return
        except OSError:
            self._break()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._writable.stop()
            self._writable.close()
            self._unsent = self._writable = None

    def _finish(self) -> None:
        answered, self._answered = self._answered, None
        assert answered is not None  # `_read` looked
        # An answer that came before all of the request was sent is the last one.
        if not self._parser.should_keep_alive() or self._unsent is not None:
            self.close()
        answered(self, self._parser.get_code())

    def _break(self) -> None:
        answered = self._answered
        self.close()
        if answered is not None:
            answered(self, BROKEN)
