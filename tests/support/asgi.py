"""A client for a raw ASGI application: one request in, one answer out, no server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.asgi import Handler, Message


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: Handler,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] | Mapping[str, Any] = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request; a sequence of bytes is sent in chunks, a mapping as JSON."""
    if isinstance(body, Mapping):
        body = json.dumps(body).encode()
    chunks = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    head, *rest = sent
    return Answer(
        status=head["status"],
        headers={key.decode(): value.decode() for key, value in head["headers"]},
        body=b"".join(message.get("body", b"") for message in rest),
    )
