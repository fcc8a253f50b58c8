"""A data port with an application that does as its path says, and a client of bare bytes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.dataport.limits import Limits
from serve_app.dataport.listener import DataPort

LIMITS = Limits(
    max_body_bytes=1 << 20,
    body_timeout_seconds=30.0,
    max_connections=256,
    max_in_flight=256,
    keep_alive_seconds=30.0,
    max_wait_seconds=30.0,
    rest_seconds=0.0,
)
HANG_SECONDS = 20.0
GET = b"GET /%s HTTP/1.1\r\nhost: here\r\n\r\n"


def limits(**changes: Any) -> Limits:
    """`LIMITS`, but for these."""
    return replace(LIMITS, **changes)


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A request with a body."""
    lines = [f"POST {path} HTTP/1.1", "host: here", f"content-length: {len(body)}"]
    lines += (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return "\r\n".join((*lines, "", "")).encode() + body


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(HANG_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Watching:
    """`Watch` that remembers."""

    connected: int = 0
    most: int = 0
    rests: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def connections(self, count: int) -> None:
        self.connected = count
        self.most = max(self.most, count)

    def rested(self) -> None:
        self.rests += 1

    def refused(self, reason: str) -> None:
        self.reasons[reason] += 1


class Application:
    """Answers by path; all others get what was asked, as JSON.

    /wait until `gate` is set; /shed 429; /bytes?n as many; /raise and /silent answer nothing;
    /stubborn answers after it was cancelled; /cancel cancels itself; /unread leaves the body.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: list[str] = []
        """Paths with their queries, in the order they began."""
        self.begun_at: list[float] = []
        self.waiting = 0
        self.most_waiting = 0
        self.cancelled: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["path"], scope["query_string"].decode()
        self.asked.append(f"{path}?{query}" if query else path)
        self.begun_at.append(time.monotonic())
        status, body = 200, b""
        match path:
            case "/wait" | "/stubborn":
                await self._wait(path)
            case "/shed":
                status = 429
            case "/bytes":
                body = b"x" * int(query)
            case "/raise":
                raise RuntimeError("meant to fail")
            case "/silent":
                return
            case "/cancel":
                raise asyncio.CancelledError
            case "/unread":
                pass
            case _:
                body = await _described(scope, receive)
        headers = [(b"content-length", b"%d" % len(body)), (b"x-asked", self.asked[-1].encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _wait(self, path: str) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(path)
            if path != "/stubborn":
                raise
        finally:
            self.waiting -= 1


async def _described(scope: Scope, receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    return json.dumps(
        {
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "query_string": scope["query_string"].decode("latin-1"),
            "http_version": scope["http_version"],
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in scope["headers"]],
            "client_host": scope["client"][0],
            "body": body.decode("latin-1"),
        }
    ).encode()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    version: str = "HTTP/1.1"

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Bytes to a port, and answers from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next one."""
        async with asyncio.timeout(HANG_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            version, status = first.split(" ")[:2]
            headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}
            length = 0 if to_head else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
        return Answer(int(status), headers, body, version)

    async def ask(self, data: bytes) -> Answer:
        self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """Everything up to the end that the server makes."""
        async with asyncio.timeout(HANG_SECONDS):
            return await self.reader.read()

    async def silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.readexactly(1)
        except TimeoutError:
            return True
        return False

    def vanish(self) -> None:
        """Without a word."""
        self.writer.transport.abort()


class Port:
    """A data port that is open, and what it does."""

    def __init__(self, application: Handler, limits: Limits) -> None:
        self.watch = Watching()
        self.data_port = DataPort(application, limits, self.watch)
        self.number = 0
        self._clients: list[Client] = []

    def open(self, number: int = 0) -> None:
        self.number = self.data_port.open("127.0.0.1", number)

    async def client(self, limit: int = 1 << 22, **socket_options: Any) -> Client:
        """One that is connected."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.number, limit=limit, **socket_options
        )
        self._clients.append(Client(reader, writer))
        return self._clients[-1]

    async def close(self) -> None:
        for client in self._clients:
            client.writer.close()
        await self.data_port.close(0.1)
        await eventually(lambda: self.watch.connected == 0)


@asynccontextmanager
async def opened(
    application: Handler | None = None, allowed: Limits = LIMITS, number: int = 0
) -> AsyncIterator[Port]:
    """A port of its own for a test; fails it where the event loop had to report something."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    port = Port(application or Application(), allowed)
    port.open(number)
    try:
        yield port
    finally:
        await port.close()
    assert reports == []
