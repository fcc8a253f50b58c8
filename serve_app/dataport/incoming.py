"""From a connection's bytes to whole requests: llhttp's callbacks, and limits to it."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple
from urllib.parse import unquote

import httptools

from serve_app.asgi import RECEIVED, Header, Scope
from serve_app.dataport.limits import Limits
from serve_app.errors import (
    BodyTooLargeError,
    HeadTooLargeError,
    MalformedRequestError,
    RequestError,
)

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Request(NamedTuple):
    """One request, whole."""

    scope: Scope
    body: bytes
    keep: bool
    """Whether the client lets the connection be kept."""


class Incoming:
    """Parses what one client sends; `requests` are those complete and not yet taken."""

    __slots__ = (
        "_chunks", "_client", "_fault", "_head_bytes", "_headers", "_in_head", "_last", "_limits",
        "_parser", "_size", "_url", "expects", "partial_since", "requests",
    )  # fmt: skip

    def __init__(self, limits: Limits, client: tuple[str, int] | None) -> None:
        self._limits = limits
        self._client = client
        self.requests: deque[Request] = deque()
        self.partial_since: float | None = None
        """When the request that is not complete began, `time.monotonic()`; None: there is none."""
        self.expects = False
        """Whether the client waits to be told to send the body."""
        self._fault: RequestError | None = None
        self._in_head = self._last = False
        self._head_bytes = self._size = 0
        self._url = b""
        self._headers: list[Header] = []
        self._chunks: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """More bytes; what comes after a request that asked to close is passed over.

        Raises:
            RequestError: they are no HTTP, or too many; nothing after them can be read.
        """
        if self._last:
            return
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stay()
        except httptools.HttpParserError as error:
            if not self._last and self._fault is None:
                self._fault = MalformedRequestError(f"request: expected HTTP/1.1: {error}")
        if in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > (limit := self._limits.max_head_bytes):
                self._fault = HeadTooLargeError(f"headers: expected at most {limit} bytes")
        if self._fault is not None:
            raise self._fault

    def _stay(self) -> None:
        """With HTTP/1.1, as a server may that is asked for another protocol.

        But not with a body: llhttp leaves it as the other protocol's, and it would be read as a
        request.
        """
        self._last = True
        if not self.requests:
            return
        scope, body, _ = self.requests.pop()
        names = {name for name, _ in scope["headers"]}
        if scope["method"] == "CONNECT" or names & {b"content-length", b"transfer-encoding"}:
            self._fault = MalformedRequestError(
                "upgrade: expected none with a body, as only HTTP/1.1 is spoken here"
            )
            return
        self.requests.append(Request(scope, body, keep=False))

    # llhttp's callbacks. What they raise would be lost in the parser: they note a fault.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.partial_since = time.monotonic()
        self._in_head = True
        self._head_bytes = self._size = 0
        self._url = b""
        self._headers = []
        self._chunks = []

    def on_url(self, part: bytes) -> None:
        """The target, perhaps in parts."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, whole. Those that come after the body are passed over."""
        if not self._in_head:
            return
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self.expects = True

    def on_headers_complete(self) -> None:
        """The body is next."""
        self._in_head = False

    def on_body(self, part: bytes) -> None:
        """Some of the body."""
        self._size += len(part)
        if self._size <= self._limits.max_body_bytes:
            self._chunks.append(part)
        elif self._fault is None:
            self._fault = BodyTooLargeError(
                f"body: expected at most {self._limits.max_body_bytes} bytes, given more"
            )

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self.partial_since = None
        self.expects = False
        if self._fault is not None:
            return
        parser, chunks, url = self._parser, self._chunks, self._url
        if url[:1] != b"/":
            url = _origin_form(url)
        path, _, query = url.partition(b"?")
        text = path.decode("latin-1")
        keep = parser.should_keep_alive()
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("latin-1"),
            "scheme": "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._client,
            "server": None,
            RECEIVED: time.perf_counter(),
        }
        self._last = not keep
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self.requests.append(Request(scope, body, keep))


def _origin_form(url: bytes) -> bytes:
    """Path and query of `http://host/path?query`, as one asks a proxy; others as they are."""
    scheme, separator, rest = url.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return url
    slash = rest.find(b"/")
    return rest[slash:] if slash >= 0 else b"/" + b"".join(rest.partition(b"?")[1:])
