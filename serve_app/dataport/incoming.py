"""From a connection's bytes to whole requests: llhttp's callbacks, and limits to it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple
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

_NOTHING: list[Any] = []
"""Of a parser between two requests, and never added to. What belonged to the last one goes with it,
while it is still in the processor's caches: with thousands of connections it would have left them
by the time the next one comes."""

_PIECES = 1000
"""A body in more pieces is put together as it comes: each takes up some dozens of bytes more."""


class Request(NamedTuple):
    """One request, whole."""

    scope: Scope
    body: bytes
    keep: bool
    """Whether the client lets the connection be kept."""


class Incoming:
    """Parses what one client sends; `requests` are those complete and not yet taken."""

    __slots__ = (
        "_chunks", "_client", "_fault", "_headers", "_in_head", "_last", "_limits", "_may_be_long",
        "_parser", "_received", "_size", "_unused_bytes", "_url", "expects", "partial_since",
        "requests", "unread",
    )  # fmt: skip

    def __init__(self, limits: Limits, client: tuple[str, int] | None) -> None:
        self._limits = limits
        self._client = client
        self.requests: deque[Request] = deque()
        self.partial_since: float | None = None
        """When the request that is not complete began, `time.monotonic()`; None: there is none."""
        self.expects = False
        """Whether the client waits to be told to send the body."""
        self.unread = b""
        """What was put off."""
        self._received = 0.0
        """When the bytes came that are being read, or were put off; `time.perf_counter()`."""
        self._fault: RequestError | None = None
        self._in_head = self._last = False
        self._may_be_long = False
        """Whether a head that ends in these bytes can be too long."""
        self._size = self._unused_bytes = 0
        self._url = b""
        self._headers: list[Header] = _NOTHING
        self._chunks: list[bytes] = _NOTHING
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """More bytes; what comes after a request that asked to close is passed over.

        Raises:
            RequestError: they are no HTTP, or too many; nothing after them can be read. Whole
                requests before them are in `requests`.
        """
        if self.unread:
            self.read()
        self._received = time.perf_counter()
        self._parse(data)

    def put_off(self, data: bytes) -> bool:
        """Whether these bytes can be read later, by `read`: they begin a request by POST.

        Parsed, a request is a hundred small objects. Where it has to wait, between thousands of
        others, they would have left the processor's caches when its turn comes.
        """
        begins = not (self.unread or self.requests) and self.partial_since is None
        if not begins or data[:5] != b"POST ":
            return False
        self._received = time.perf_counter()
        self.unread = data
        return True

    def came(self) -> float | None:
        """When the first of what is not taken came, `time.perf_counter()`; None: there is none."""
        if self.requests:
            received: float = self.requests[0].scope[RECEIVED]
            return received
        return self._received if self.unread else None

    def read(self) -> None:
        """What was put off. It counts as received when it came.

        Raises:
            RequestError: see `feed`.
        """
        data, self.unread = self.unread, b""
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        if self._last:
            return
        headers, in_head, size = self._headers, self._in_head, self._size
        self._may_be_long = in_head or len(data) > self._limits.max_head_bytes
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._last and self._fault is None:
                self._fault = MalformedRequestError(f"request: expected HTTP/1.1: {error}")
        if self.partial_since is not None and self._fault is None:
            begun_before = self._headers is headers
            if begun_before and self._size == size:
                self._count_unused(len(data))
            else:
                self._unused_bytes = 0
            if not self._in_head and (in_head or not begun_before):
                self._expect_body()
            if len(self._chunks) > _PIECES:
                self._chunks = [b"".join(self._chunks)]
        if self._fault is not None:
            raise self._fault

    def _decline_upgrade(self, rest: memoryview) -> None:
        """Stay with HTTP/1.1, as a server may that is asked for another protocol.

        llhttp takes what follows the request's head, its body too, for the other protocol's. So the
        head is read again without the wish, and then the `rest`.
        """
        while self._fault is None:
            scope = self.requests.pop().scope
            if scope["method"] == "CONNECT":
                self._fault = MalformedRequestError(
                    "method: expected one that a server answers, given CONNECT: this is no proxy"
                )
                return
            path, query = scope["raw_path"], scope["query_string"]
            target = b"%s?%s" % (path, query) if query else path
            lines = [b"%s %s HTTP/%s" % (
                scope["method"].encode(), target, scope["http_version"].encode()
            )]  # fmt: skip
            lines += (b"%s: %s" % pair for pair in scope["headers"] if pair[0] != b"upgrade")
            self._last = False
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"\r\n".join((*lines, b"", b"")))
            if self._last:
                return
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return

    def _count_unused(self, count: int) -> None:
        """Bytes that neither ended a head nor brought some of a body: of headers, or trailers."""
        self._unused_bytes += count
        if self._unused_bytes > self._limits.max_head_bytes:
            self._fault = self._head_too_large()

    def _expect_body(self) -> None:
        """A head is complete and its body is not: is it welcome?"""
        limit = self._limits.max_body_bytes
        for name, value in self._headers:
            if name == b"content-length" and int(value) > limit:
                self._fault = BodyTooLargeError(
                    f"body: expected at most {limit} bytes, given {int(value)}"
                )
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expects = self._parser.get_http_version() != "1.0"

    def _head_too_large(self) -> RequestError:
        return HeadTooLargeError(
            f"headers: expected at most {self._limits.max_head_bytes} bytes, given more"
        )

    # llhttp's callbacks. What they raise would be lost in the parser: they note a fault.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.partial_since = time.monotonic()
        self._in_head = True
        self._size = 0
        self._url = b""
        self._headers = []
        self._chunks = []

    def on_url(self, part: bytes) -> None:
        """The target, perhaps in parts."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, whole. Those that come after the body are passed over."""
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The body is next."""
        self._in_head = False
        if self._may_be_long:
            length = len(self._url) + sum(
                len(name) + len(value) + 4 for name, value in self._headers
            )
            if length > self._limits.max_head_bytes and self._fault is None:
                self._fault = self._head_too_large()

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
            RECEIVED: self._received,
        }
        self._last = not keep
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._headers = self._chunks = _NOTHING
        self._url = b""
        self.requests.append(Request(scope, body, keep))


def _origin_form(url: bytes) -> bytes:
    """Path and query of `http://host/path?query`, as one asks a proxy; others as they are."""
    scheme, separator, rest = url.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return url
    authority, mark, query = rest.partition(b"?")
    return b"/" + authority.partition(b"/")[2] + mark + query
