"""What uvicorn makes of the same requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from tests.serve_app.dataport.ports import (
    GET,
    Application,
    Client,
    eventually,
    limits,
    opened,
    post,
)

REQUESTS = {
    "get": GET % b"a",
    "query": GET % b"a%20b%C3%A9?c=d%20e&f",
    "post": post("/a", b"body"),
    "large": post("/a", b"x" * 200_000),
    "empty": post("/a", b""),
    "delete": b"DELETE /a HTTP/1.1\r\nHost: here\r\nX-Mixed-Case: Yes\r\n\r\n",
    "twice": b"GET / HTTP/1.1\r\nhost: here\r\nx: 1\r\nX: 2\r\nx-empty:\r\n\r\n",
    "chunked": (
        b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    ),
    "closing": b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\n\r\n",
    "shed": GET % b"shed",
    "absolute": b"OPTIONS * HTTP/1.1\r\nhost: here\r\n\r\n",
    "continued": post("/a", b"body", expect="100-continue"),
}


@asynccontextmanager
async def under_uvicorn() -> AsyncIterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(Application(), http="httptools", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        await eventually(lambda: server.started)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("waits", [False, True])
async def test_uvicorn_answers_the_same(name: str, waits: bool) -> None:
    answers, ended = [], []
    application = Application()
    async with (
        opened(application, limits(max_in_flight=1)) as port,
        under_uvicorn() as reference,
    ):
        if waits:
            (await port.client()).send(post("/wait", b""))
            await eventually(lambda: application.waiting == 1)
            asyncio.get_running_loop().call_later(0.05, application.gate.set)
        for number in (port.number, reference):
            reader, writer = await asyncio.open_connection("127.0.0.1", number, limit=1 << 22)
            client = Client(reader, writer)
            answer = await client.ask(REQUESTS[name])
            while answer.status == 100:
                answer = await client.answer()
            answers.append(answer)
            ended.append(name in ("closing", "old") and await client.rest() == b"")
            writer.close()
    ours, theirs = answers
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert ours.headers["content-length"] == theirs.headers["content-length"]
    assert ended[0] == ended[1]
