"""The little of HTTP that is needed over raw ASGI: a router of exact paths, bodies, answers.

A web framework's routing and request objects cost more than a small model; the paths of one model
and its variants are known when the gateway starts, so a request is routed by one look-up.
"""

from __future__ import annotations

from collections.abc import Iterable

from serve_app.asgi import Header, Message, Receive, Scope, Send
from serve_app.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ControlError,
    EncodedBodyError,
    MethodNotAllowedError,
    QueueFullError,
    RequestError,
    ServingError,
    SlimserveError,
    StaleTableError,
    UnauthenticatedError,
)
from serve_app.protocol.messages import ErrorResponse, encode

JSON: Header = (b"content-type", b"application/json")
OCTETS: Header = (b"content-type", b"application/octet-stream")

_DIGITS = 19
"""Of a length: more of them are too many, whatever they say."""


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header, None if it is not there; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body; not read further than `limit_bytes`, and not at all if its head says more.

    Raises:
        BodyTooLargeError: it is longer.
        DisconnectedError: the client went away.
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced[:_DIGITS]) > limit_bytes:
        raise _too_large(announced[:_DIGITS].decode(), limit_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body = bytes(message.get("body", b""))
        if len(body) > limit_bytes:
            raise _too_large(str(len(body)), limit_bytes)
        return body
    return await _read_on(message, receive, limit_bytes)


async def _read_on(message: Message, receive: Receive, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit_bytes:
            raise _too_large(f"more than {limit_bytes}", limit_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _too_large(given: str, limit_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"body: expected at most {limit_bytes} bytes, given {given}")


def check_encoding(scope: Scope) -> None:
    """To be called with a body that makes no sense: it may be compressed.

    Raises:
        EncodedBodyError: it is.
    """
    encoding = header(scope, b"content-encoding")
    if encoding not in (None, b"identity"):
        raise EncodedBodyError(f"content-encoding: expected none, given {encoding[:40]!r}")


async def respond(
    send: Send, status: int, body: bytes, headers: Iterable[Header] = (JSON,)
) -> None:
    """Send a whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, document: object, status: int = 200) -> None:
    """Send a document as JSON."""
    await respond(send, status, encode(document))


async def respond_error(send: Send, error: SlimserveError) -> None:
    """Send an error of ours: its status, its message, and the headers that belong to it."""
    status = error.status if isinstance(error, RequestError | ControlError | ServingError) else 500
    headers = [JSON]
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, QueueFullError):
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if isinstance(error, BodyTimeoutError):
        headers.append((b"connection", b"close"))
    if isinstance(error, EncodedBodyError):
        headers.append((b"accept-encoding", b"identity"))
    if isinstance(error, UnauthenticatedError):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, StaleTableError):
        await respond(send, status, encode({"error": str(error), "version": error.version}))
        return
    await respond(send, status, encode(ErrorResponse(str(error))), headers)
