"""The bytes of an HTTP/1.1 answer."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from serve_app.asgi import Header
from serve_app.errors import QueueFullError, RequestError
from serve_app.protocol.messages import ErrorResponse, encode

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
_KEPT = b"connection: keep-alive\r\n"


class Heads:
    """Makes heads. The date in them is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._starts: dict[int, bytes] = {}

    def head(self, status: int, headers: Iterable[Header], *, close: bool, old: bool) -> bytes:
        """Everything before the body; `old` is HTTP/1.0, which closes unless it is told."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
        start = self._starts.get(status)
        if start is None:
            start = self._starts[status] = self._start(status)
        parts = [start]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if close:
            parts.append(_CLOSE)
        elif old:
            parts.append(_KEPT)
        parts.append(b"\r\n")
        return b"".join(parts)

    def refusal(
        self, error: RequestError | QueueFullError, *, close: bool = True, old: bool = False
    ) -> bytes:
        """A whole answer to what is not passed on to the application."""
        body = encode(ErrorResponse(str(error)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if isinstance(error, QueueFullError):
            headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
        return self.head(error.status, headers, close=close, old=old) + body

    def _start(self, status: int) -> bytes:
        return f"{_LINES[status]}date: {formatdate(self._second, usegmt=True)}\r\n".encode()
