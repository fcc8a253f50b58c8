"""One kept-alive HTTP/1.1 connection that sends bytes prepared beforehand.

Measured on the machine of the README with 1.2 kB bodies and 16 connections: locust's FastHttpUser
costs 194 µs of CPU a request, geventhttpclient's HTTPClient 97 µs, this 35 µs, with the same C
parser (llhttp, from geventhttpclient) at work in all three. On two cores shared with the server
the difference is load that the server does not get.
"""

from __future__ import annotations

import select
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gevent import socket
from gevent import ssl as gevent_ssl
from geventhttpclient._parser import HTTPResponseParser

from loadtest.errors import OptionError

_BLOCK_BYTES = 65536
_IDLE_SECONDS = 1.0
"""After so long without a request the server may have closed the connection."""


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
    """Sends one request at a time and reads its answer; opened at the first request."""

    def __init__(self, target: Target, timeout_seconds: float = 30.0) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._socket: Any = None
        self._parser = _Parser()
        self._last_used = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._socket is not None

    def open(self) -> None:
        """Connect now, so that the first request does not pay for it. Raises OSError."""
        address = (self._target.host, self._target.port)
        self._socket = socket.create_connection(address, timeout=self._timeout_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._target.tls:
            context: ssl.SSLContext = gevent_ssl.create_default_context()
            self._socket = context.wrap_socket(self._socket, server_hostname=self._target.host)
        self._parser = _Parser()

    def exchange(self, request: bytes) -> int:
        """Send `request` and read the whole answer; returns its HTTP status.

        Raises OSError where the connection breaks or times out, and closes it.
        """
        try:
            if self._socket is not None and time.monotonic() - self._last_used > _IDLE_SECONDS:
                self._close_if_stale()
            if self._socket is None:
                self.open()
            parser, sock = self._parser, self._socket
            parser.complete = False
            sock.sendall(request)
            while not parser.complete:
                block = sock.recv(_BLOCK_BYTES)
                if not block:
                    raise ConnectionResetError("the server closed the connection")
                parser.feed(block)
        except BaseException:  # also a killed greenlet: half an answer must not be read later
            self.close()
            raise
        status: int = parser.get_code()
        self._last_used = time.monotonic()
        if not parser.should_keep_alive():
            self.close()
        return status

    def _close_if_stale(self) -> None:
        """Nothing is awaited, so anything to read is the server's goodbye."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        if poll.poll(0):
            self.close()

    @property
    def body(self) -> bytes:
        """Body of the last answer."""
        return bytes(self._parser.body)

    def close(self) -> None:
        """Close; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
