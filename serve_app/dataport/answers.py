"""The bytes of an HTTP/1.1 answer."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from serve_app.asgi import Header
from serve_app.errors import LineFullError, QueueFullError, RequestError
from serve_app.protocol.messages import ErrorResponse, encode

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
_KEPT = b"connection: keep-alive\r\n"


class Heads:
    """Makes heads, of one port's answers. The date in them is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._starts: dict[int, bytes] = {}
        self._repeated: dict[tuple[LineFullError, bool, bool], bytes] = {}

    def head(self, status: int, headers: Iterable[Header], *, close: bool, old: bool) -> bytes:
        """Everything before the body; `old` is HTTP/1.0, which closes unless it is told."""
        self._forget_the_last_second()
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

    def repeated(self, error: LineFullError, *, close: bool, old: bool) -> bytes:
        """See `refusal`. Made once a second, for thousands are told the same in it."""
        self._forget_the_last_second()
        key = error, close, old
        answer = self._repeated.get(key)
        if answer is None:
            answer = self._repeated[key] = self.refusal(error, close=close, old=old)
        return answer

    def _forget_the_last_second(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
            self._repeated.clear()

    def _start(self, status: int) -> bytes:
        return f"{_LINES[status]}date: {formatdate(self._second, usegmt=True)}\r\n".encode()
