from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from serve_app.asgi import RECEIVED, Receive, Scope, Send
from serve_app.dataport import resting
from serve_app.dataport.line import Line
from tests.serve_app.dataport.ports import (
    GET,
    HANG_SECONDS,
    Application,
    Client,
    Port,
    eventually,
    limits,
    opened,
    post,
)


async def asked(client: Client, data: bytes) -> Any:
    """What the application was asked."""
    answer = await client.ask(data)
    assert answer.status == 200
    return answer.json()


@pytest.fixture
def rests_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is woken before its time, however few rest."""
    monkeypatch.setattr(resting, "WOKEN_PER_SECOND", 0.0)


async def refused(port: Port) -> Client:
    """A client that was told to come back later where too many wait, and rests."""
    client = await port.client()
    assert (await client.ask(post("/late", b""))).status == 429
    return client


# Requests and answers.


async def test_a_connection_is_kept_until_the_client_closes_it() -> None:
    async with opened() as port:
        client = await port.client()
        for body in (b"one", b"two", b""):
            answer = await client.ask(post("/a%20b?c=d", body))
            assert (answer.status, answer.version, answer.closes) == (200, "HTTP/1.1", False)
            assert answer.json()["body"].encode() == body
            assert answer.json()["path"] == "/a b"
            assert answer.json()["query_string"] == "c=d"
            assert answer.json()["client_host"] == "127.0.0.1"
        assert port.watch.connected == 1
        client.writer.close()
        await eventually(lambda: port.watch.connected == 0)


async def test_a_client_that_asks_for_it_gets_its_last_answer() -> None:
    async with opened() as port:
        client = await port.client()
        answer = await client.ask(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert answer.status == 200
        assert answer.closes
        assert await client.rest() == b""


async def test_http_1_0_closes_unless_it_asks_not_to() -> None:
    async with opened() as port:
        client = await port.client()
        for _ in range(2):
            kept = await client.ask(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            assert kept.headers["connection"] == "keep-alive"
            assert kept.json()["http_version"] == "1.0"
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).closes
        assert await client.rest() == b""


async def test_an_answer_to_head_has_no_body_and_its_length() -> None:
    async with opened() as port:
        client = await port.client()
        client.send(b"HEAD /bytes?12345 HTTP/1.1\r\n\r\n" + GET % b"next")
        assert (await client.answer(to_head=True)).headers["content-length"] == "12345"
        assert (await client.answer()).json()["path"] == "/next"


async def test_requests_are_answered_in_their_order() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + post("/a", b"A") + GET % b"shed" + post("/b", b"B"))
        client.send(GET % b"c")
        await eventually(lambda: application.waiting == 1)
        await asyncio.sleep(0.05)
        assert application.asked == ["/wait"]
        application.gate.set()
        answers = [await client.answer() for _ in range(5)]
        paths = [answer.headers["x-asked"] for answer in answers]
        assert paths == ["/wait", "/a", "/shed", "/b", "/c"]
        assert answers[1].json()["body"] == "A"
        assert answers[3].json()["body"] == "B"


async def test_many_requests_at_once_are_all_answered() -> None:
    async with opened() as port:
        client = await port.client()
        client.send(b"".join(GET % b"bytes?%d" % number for number in range(5000)))
        for number in range(5000):
            assert len((await client.answer()).body) == number


async def test_a_body_may_come_in_pieces() -> None:
    async with opened() as port:
        client = await port.client()
        for piece in post("/", b"piece by piece"):
            client.send(bytes([piece]))
            await asyncio.sleep(0.001)
        assert (await client.answer()).json()["body"] == "piece by piece"


async def test_a_large_body_arrives_whole() -> None:
    async with opened() as port:
        client = await port.client()
        body = bytes(range(128)) * 8192
        assert (await asked(client, post("/", body)))["body"].encode() == body


async def test_a_chunked_body_arrives_whole() -> None:
    async with opened() as port:
        client = await port.client()
        head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n"
        chunks = b"4\r\nchun\r\n3\r\nked\r\n0\r\nx-t: 1\r\n\r\n"
        assert (await asked(client, head + chunks))["body"] == "chunked"
        assert (await asked(client, GET % b"next"))["path"] == "/next"


async def test_targets_of_a_proxy_are_understood() -> None:
    async with opened() as port:
        client = await port.client()
        answer = await asked(client, b"GET http://here:80/a%20b?c HTTP/1.1\r\n\r\n")
        assert (answer["path"], answer["raw_path"], answer["query_string"]) == (
            "/a b", "/a%20b", "c",
        )  # fmt: skip


async def test_a_body_that_nobody_read_is_not_the_next_ones() -> None:
    async with opened() as port:
        client = await port.client()
        client.send(post("/unread", b"first") + post("/", b"second"))
        await client.answer()
        assert (await client.answer()).json()["body"] == "second"


# Expect: 100-continue.

EXPECTING = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"


async def test_a_client_that_waits_is_told_to_send_its_body() -> None:
    async with opened() as port:
        client = await port.client()
        for _ in range(2):
            assert (await client.ask(EXPECTING % 4)).status == 100
            assert (await asked(client, b"body"))["body"] == "body"
        assert (await asked(client, EXPECTING % 4 + b"body"))["body"] == "body"


async def test_a_client_that_waits_is_told_after_what_it_asked_before() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + EXPECTING % 4)
        await eventually(lambda: application.waiting == 1)
        assert await client.silent()
        application.gate.set()
        assert (await client.answer()).headers["x-asked"] == "/wait"
        assert (await client.answer()).status == 100
        assert (await asked(client, b"body"))["body"] == "body"


async def test_a_client_is_not_told_to_send_what_is_too_much() -> None:
    async with opened(allowed=limits(max_body_bytes=100)) as port:
        client = await port.client()
        assert (await client.ask(EXPECTING % 101)).status == 413
        assert await client.rest() == b""


# Requests that wait for their turn.


@asynccontextmanager
async def taken(**changes: Any) -> AsyncIterator[tuple[Port, Application]]:
    """A port where one request is in hand, and others by POST wait until the gate is set."""
    application = Application()
    async with opened(application, limits(max_in_flight=1, **changes)) as port:
        busy = await port.client()
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        yield port, application
        application.gate.set()
        assert (await busy.answer()).status == 200
        # Nobody has taken a turn that was not given back, or given one back that was not taken.
        application.gate.clear()
        application.most_waiting = 0
        clients = [await port.client() for _ in range(3)]
        for client in clients:
            client.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        application.gate.set()
        assert [(await client.answer()).status for client in clients] == [200, 200, 200]
        assert application.most_waiting == 1


async def test_a_request_that_waits_is_not_read_before_its_turn() -> None:
    async with taken() as (port, application):
        client = await port.client()
        client.send(post("/a", b"A") + post("/b", b"B") + b"garbage\r\n\r\n")
        await asyncio.sleep(0.05)
        assert port.watch.reasons == {}
        application.gate.set()
        assert [(await client.answer()).json()["body"] for _ in range(2)] == ["A", "B"]
        refusal = await client.answer()
        assert (refusal.status, refusal.closes) == (400, True)
        assert await client.rest() == b""
        assert application.asked == ["/wait", "/a", "/b"]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"POST garbage\r\n\r\n", 400, "malformed"),
        (b"POST / HTTP/1.1\r\nx: %s\r\n\r\n" % (b"a" * 20_000), 431, "head_too_large"),
        (post("/", b"a" * 10_001), 413, "body_too_large"),
    ],
)
async def test_what_is_no_request_is_told_so_when_its_turn_comes(
    data: bytes, status: int, reason: str
) -> None:
    async with taken(max_head_bytes=10_000, max_body_bytes=10_000) as (port, application):
        client, next_one = await port.client(), await port.client()
        client.send(data)
        await asyncio.sleep(0.05)
        next_one.send(post("/next", b""))
        assert await client.silent()
        application.gate.set()
        refusal = await client.answer()
        assert (refusal.status, refusal.closes) == (status, True)
        assert await client.rest() == b""
        assert (await next_one.answer()).json()["path"] == "/next"
        assert application.asked == ["/wait", "/next"]
        assert port.watch.reasons == {reason: 1}


async def test_what_is_too_much_is_refused_before_its_turn_where_more_of_it_comes() -> None:
    async with taken(max_body_bytes=100_000) as (port, application):
        client = await port.client()
        sending = asyncio.ensure_future(_sent_slowly(client, post("/", b"a" * (8 << 20))))
        assert (await client.answer()).status == 413
        await sending
        assert await client.rest() == b""
        assert application.asked == ["/wait"]


async def half_asked(port: Port, cut: int) -> tuple[Client, bytes, Client]:
    """A client that waits with a part of its request, the rest, and one that waits after it."""
    client, next_one = await port.client(), await port.client()
    request = post("/first", b"body")
    client.send(request[:cut])
    await asyncio.sleep(0.05)
    next_one.send(post("/next", b""))
    await asyncio.sleep(0.05)
    return client, request[cut:], next_one


@pytest.mark.parametrize("cut", [6, 40, -1])
async def test_a_request_that_is_not_all_there_takes_nobodys_turn(cut: int) -> None:
    async with taken() as (port, application):
        client, rest, next_one = await half_asked(port, cut)
        application.gate.set()
        assert (await next_one.answer()).json()["path"] == "/next"
        assert (await asked(client, rest))["body"] == "body"


@pytest.mark.parametrize("cut", [6, 40, -1])
async def test_the_rest_of_a_request_may_come_while_it_waits(cut: int) -> None:
    async with taken() as (port, application):
        client, rest, next_one = await half_asked(port, cut)
        client.send(rest + post("/second", b"more"))
        await asyncio.sleep(0.05)
        application.gate.set()
        assert (await client.answer()).json()["body"] == "body"
        assert (await client.answer()).json()["body"] == "more"
        assert (await next_one.answer()).json()["path"] == "/next"
        assert application.asked == ["/wait", "/first", "/next", "/second"]


async def test_requests_that_come_one_by_one_while_the_first_waits_are_all_answered() -> None:
    async with taken() as (port, application):
        client = await port.client()
        for number in range(3):
            client.send(post(f"/{number}", b""))
            await asyncio.sleep(0.05)
        application.gate.set()
        assert [(await client.answer()).json()["path"] for _ in range(3)] == ["/0", "/1", "/2"]


async def test_the_next_request_of_one_in_hand_waits_for_its_answer() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=2)) as port:
        client, other = await port.client(), await port.client()
        client.send(post("/wait?1", b""))
        other.send(post("/wait?2", b""))
        await eventually(lambda: application.waiting == 2)
        client.send(post("/next", b""))
        await asyncio.sleep(0.05)
        other.vanish()
        await eventually(lambda: application.waiting == 1)
        await asyncio.sleep(0.05)
        assert application.asked == ["/wait?1", "/wait?2"]
        application.gate.set()
        assert (await client.answer()).body == b""
        assert (await client.answer()).json()["path"] == "/next"
        assert application.asked == ["/wait?1", "/wait?2", "/next"]


async def test_a_request_that_waited_half_read_has_its_whole_time_before_it() -> None:
    async with taken(body_timeout_seconds=1.5) as (port, application):
        clients = [await port.client() for _ in range(2)]
        for client in clients:
            client.send(post("/", b"body")[:-1])
        await asyncio.sleep(2.1)  # longer than a request may take to come
        application.gate.set()
        await asyncio.sleep(0.3)
        assert (await asked(clients[0], b"y"))["body"] == "body"
        assert (await clients[1].answer()).status == 408
        assert port.watch.reasons == {"body_timeout": 1}


async def test_a_client_that_waits_for_its_turn_is_told_then_to_send_its_body() -> None:
    async with taken() as (port, application):
        client = await port.client()
        client.send(EXPECTING % 4)
        assert await client.silent()
        application.gate.set()
        assert (await client.answer()).status == 100
        assert (await asked(client, b"body"))["body"] == "body"


async def test_a_request_came_when_its_bytes_came() -> None:
    came: dict[str, float] = {}
    application = Application()

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        came[scope["path"]] = scope[RECEIVED]
        await application(scope, receive, send)

    async with opened(noted, limits(max_in_flight=1)) as port:
        busy, client = await port.client(), await port.client()
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        before = time.perf_counter()
        client.send(post("/later", b""))
        await asyncio.sleep(0.3)
        application.gate.set()
        assert (await client.answer()).status == 200
        assert before <= came["/later"] < before + 0.25


async def test_who_waits_when_the_port_closes_is_answered() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1)) as port:
        busy, client = await port.client(), await port.client()
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        client.send(post("/later", b""))
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(1.2)  # idle ones would have been told to go
        assert not closing.done()
        application.gate.set()
        answer = await client.answer()
        assert (answer.json()["path"], answer.closes) == ("/later", True)
        assert await client.rest() == b""
        await closing


# Requests that would wait for too long.


@asynccontextmanager
async def crowded(**changes: Any) -> AsyncIterator[tuple[Port, Application, list[Client]]]:
    """A port where a request more would not have its turn soon, and those who wait for theirs."""
    application = Application()
    allowed = limits(max_in_flight=1, max_wait_seconds=0.5, **changes)
    async with opened(application, allowed) as port:
        clients = [await port.client() for _ in range(1 + 64)]
        for client in clients:
            client.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        await asyncio.sleep(0.2)  # in which nobody had its turn
        yield port, application, clients


async def test_who_would_wait_for_too_long_is_told_so_at_once_and_may_ask_again() -> None:
    async with crowded() as (port, application, clients):
        late = await port.client()
        for number in range(1, 3):
            refusal = await late.ask(post("/late", b"body"))
            assert (refusal.status, refusal.closes) == (429, False)
            assert refusal.headers["retry-after"] == "1"
            assert refusal.headers["content-type"] == "application/json"
            assert refusal.json()["error"] == (
                "gateway: expected a turn within 0.5 s, given more requests than are answered in "
                "that time; ask again in 1 s"
            )
            assert port.watch.reasons == {"line_full": number}
        assert (await late.ask(GET % b"health")).status == 200
        application.gate.set()
        assert [(await client.answer()).status for client in clients] == [200] * 65
        assert (await asked(late, post("/late", b"body")))["body"] == "body"
        assert application.asked == ["/wait", "/health", *["/wait"] * 64, "/late"]


@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.0\r\n", b"POST / HTTP/1.1\r\nconnection: close\r\n"]
)
async def test_who_is_told_so_and_wanted_no_other_answer_gets_none(head: bytes) -> None:
    async with crowded() as (port, application, _):
        late = await port.client()
        late.send(head + b"content-length: 0\r\n\r\n" + post("/more", b""))
        refusal = await late.answer()
        assert (refusal.status, refusal.closes) == (429, True)
        assert await late.rest() == b""
        assert application.asked == ["/wait"]


async def test_many_requests_of_one_client_are_all_refused_in_their_order() -> None:
    async with crowded() as (port, application, _):
        late = await port.client()
        late.send(post("/a", b"") * 2000 + GET % b"b" + post("/c", b"") + b"garbage\r\n\r\n")
        statuses = [(await late.answer()).status for _ in range(2003)]
        assert statuses == [429] * 2000 + [200, 429, 400]
        assert await late.rest() == b""
        assert application.asked == ["/wait", "/b"]


@pytest.mark.usefixtures("rests_are_long")
async def test_what_came_while_a_refused_client_rested_has_waited_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    has_room = Line.has_room

    def noted(line: Line[Any], waited_seconds: float) -> bool:
        waited.append(waited_seconds)
        return has_room(line, waited_seconds)

    monkeypatch.setattr(Line, "has_room", noted)
    async with crowded(rest_seconds=0.3) as (port, _, _clients):
        hasty, patient = await refused(port), await refused(port)
        assert port.watch.rests == 2
        waited.clear()
        assert (await hasty.ask(post("/late", b""))).status == 429
        assert 0.25 < max(waited) < 5.0
        await asyncio.sleep(0.5)
        waited.clear()
        assert (await patient.ask(post("/late", b""))).status == 429
        assert max(waited) < 0.25


@pytest.mark.usefixtures("rests_are_long")
async def test_what_comes_late_in_a_rest_has_waited_from_then_on() -> None:
    async with crowded(rest_seconds=1.0) as (port, application, clients):
        late = await refused(port)
        await asyncio.sleep(0.9)
        late.send(post("/late", b""))
        application.gate.set()
        assert [(await client.answer()).status for client in clients] == [200] * 65
        assert (await late.answer()).status == 200


@pytest.mark.usefixtures("rests_are_long")
async def test_what_waited_too_long_is_refused_and_answered_when_it_is_asked_again() -> None:
    async with crowded(rest_seconds=0.6) as (port, application, clients):
        late, asking = await refused(port), await refused(port)
        late.send(post("/late", b""))
        asking.send(GET % b"health")
        application.gate.set()
        assert [(await client.answer()).status for client in clients] == [200] * 65
        assert (await asking.answer()).json()["path"] == "/health"
        assert (await late.answer()).status == 429
        assert port.watch.rests == 2  # as nobody waits any more
        assert (await late.ask(post("/late", b""))).status == 200


@pytest.mark.usefixtures("rests_are_long")
async def test_what_waited_too_long_may_be_asked_again_at_once_where_there_is_room() -> None:
    async with crowded(rest_seconds=0.6) as (port, application, clients):
        late = await refused(port)
        late.send(post("/late", b""))
        application.gate.set()
        assert [(await client.answer()).status for client in clients] == [200] * 65
        application.gate.clear()
        for client in clients[:3]:
            client.send(post("/wait", b""))
        assert (await late.answer()).status == 429
        late.send(post("/late", b""))
        assert await late.silent()
        assert port.watch.rests == 1
        application.gate.set()
        assert (await late.answer()).status == 200


async def test_who_does_not_read_that_it_is_refused_is_not_read() -> None:
    async with crowded(body_timeout_seconds=0.5) as (port, _, _clients):
        narrow = socket.create_connection(("127.0.0.1", port.number))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            sending = asyncio.ensure_future(loop.sock_sendall(narrow, post("/", b"") * 1_000_000))
            await eventually(lambda: port.watch.connected == 65)
            assert port.watch.reasons["line_full"] < 500_000
            sending.cancel()
        finally:
            narrow.close()


# Other protocols.

UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"


async def test_a_wish_for_another_protocol_is_passed_over() -> None:
    async with opened() as port:
        client = await port.client()
        assert (await asked(client, b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n"))["path"] == "/a"
        assert (await asked(client, GET % b"b"))["path"] == "/b"


async def test_the_body_of_an_upgrade_is_never_a_request() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        smuggled = GET % b"smuggled"
        head = b"POST /a HTTP/1.1\r\n" + UPGRADE + b"content-length: %d\r\n\r\n" % len(smuggled)
        assert (await asked(client, head + smuggled))["body"].encode() == smuggled
        client.send(head)
        await asyncio.sleep(0.05)
        assert (await asked(client, smuggled))["body"].encode() == smuggled
        assert application.asked == ["/a", "/a"]


@pytest.mark.parametrize(
    "data",
    [
        b"CONNECT there:443 HTTP/1.1\r\nhost: there:443\r\n\r\n" + GET % b"smuggled",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03",
        b"POST / HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody",
    ],
)
async def test_what_is_no_request_is_told_so_after_the_good_ones(data: bytes) -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + GET % b"good" + data)
        await eventually(lambda: application.waiting == 1)
        application.gate.set()
        assert (await client.answer()).headers["x-asked"] == "/wait"
        assert (await client.answer()).json()["path"] == "/good"
        refusal = await client.answer()
        assert (refusal.status, refusal.closes) == (400, True)
        assert "expected" in refusal.json()["error"]
        assert await client.rest() == b""
        assert application.asked == ["/wait", "/good"]
        assert port.watch.reasons == {"malformed": 1}


# Limits.


async def test_a_head_may_be_only_so_long() -> None:
    async with opened(allowed=limits(max_head_bytes=10_000)) as port:
        client = await port.client()
        head = b"GET / HTTP/1.1\r\nx: %s\r\n\r\n"
        assert (await client.ask(head % (b"a" * 9_000))).status == 200
        refusal = await client.ask(head % (b"a" * 50_000))
        assert (refusal.status, refusal.closes) == (431, True)
        assert await client.rest() == b""
        assert port.watch.reasons == {"head_too_large": 1}


async def _sent_slowly(client: Client, data: bytes) -> None:
    try:
        for start in range(0, len(data), 1 << 16):
            client.send(data[start : start + (1 << 16)])
            await client.writer.drain()
            await asyncio.sleep(0.002)
    except ConnectionError:
        pass


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("reads_at_once", [True, False])
async def test_a_client_that_sends_too_much_can_read_so(
    announced: bool, reads_at_once: bool
) -> None:
    async with opened(allowed=limits(max_body_bytes=100_000)) as port:
        client = await port.client()
        body = b"a" * (8 << 20)
        if announced:
            data = post("/", body)
        else:
            head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
            data = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        sending = asyncio.ensure_future(_sent_slowly(client, data))
        if not reads_at_once:
            await sending
        refusal = await client.answer()
        assert (refusal.status, refusal.closes) == (413, True)
        assert "body: expected at most 100000 bytes, given" in refusal.json()["error"]
        await sending
        assert await client.rest() == b""
        assert port.watch.reasons == {"body_too_large": 1}


async def test_a_client_that_does_not_stop_sending_is_cut_off() -> None:
    async with opened(allowed=limits(max_body_bytes=100_000)) as port:
        client = await port.client()
        client.send(b"POST / HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n")
        assert (await client.answer()).status == 413
        sending = asyncio.ensure_future(_sent_slowly(client, b"a" * 1_000_000_000))
        await eventually(lambda: port.watch.connected == 0)
        sending.cancel()


@pytest.mark.parametrize(
    "part",
    [
        b"G",
        b"GET / HTTP/1.1\r\nx: ",
        b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nbod",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
    ],
)
async def test_a_request_that_does_not_end_is_refused(part: bytes) -> None:
    async with opened(allowed=limits(body_timeout_seconds=0.2)) as port:
        client = await port.client()
        assert (await asked(client, GET % b"before"))["path"] == "/before"
        refusal = await client.ask(part)
        assert (refusal.status, refusal.closes) == (408, True)
        assert refusal.json()["error"] == "body: expected within 0.2 s, given only a part of it"
        assert await client.rest() == b""
        assert port.watch.reasons == {"body_timeout": 1}


async def test_dripping_does_not_prolong_it() -> None:
    async with opened(allowed=limits(body_timeout_seconds=0.2)) as port:
        client = await port.client()
        client.send(b"POST / HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n")
        answering = asyncio.ensure_future(client.answer())
        while not answering.done():
            client.send(b"a")
            await asyncio.sleep(0.02)
        assert (await answering).status == 408


async def test_a_request_that_had_to_wait_for_others_is_not_late() -> None:
    application = Application()
    async with opened(application, limits(body_timeout_seconds=1.0)) as port:
        client = await port.client()
        client.send(GET % b"wait" + GET % b"next" + b"POST /last HTTP/1.1\r\ncontent-le")
        await eventually(lambda: application.waiting == 1)
        await asyncio.sleep(1.2)  # longer than a request may take to come
        application.gate.set()
        assert (await client.answer()).headers["x-asked"] == "/wait"
        assert (await client.answer()).headers["x-asked"] == "/next"
        await asyncio.sleep(0.7)
        assert (await asked(client, b"ngth: 4\r\n\r\nbody"))["body"] == "body"


async def test_an_answer_may_take_longer_than_a_body() -> None:
    application = Application()
    async with opened(
        application, limits(body_timeout_seconds=0.1, keep_alive_seconds=0.1)
    ) as port:
        client = await port.client()
        client.send(GET % b"wait")
        assert await client.silent(1.2)
        application.gate.set()
        assert (await client.answer()).status == 200


async def test_an_idle_connection_is_closed() -> None:
    async with opened(allowed=limits(keep_alive_seconds=0.1)) as port:
        silent, client = await port.client(), await port.client()
        assert (await client.ask(GET % b"")).status == 200
        for idle in (silent, client):
            assert await idle.rest() == b""
        assert port.watch.reasons == {}


# Clients that go.


async def test_what_is_computed_for_nobody_is_cancelled() -> None:
    application = Application()
    async with opened(application) as port:
        for leave in (Client.vanish, lambda client: client.writer.close()):
            client = await port.client()
            client.send(GET % b"wait")
            await eventually(lambda: application.waiting == 1)
            leave(client)
            await eventually(lambda: application.waiting == 0 and port.watch.connected == 0)
        assert application.cancelled == ["/wait", "/wait"]


async def test_an_application_that_answers_all_the_same_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"stubborn")
        await eventually(lambda: application.waiting == 1)
        client.vanish()
        await eventually(lambda: application.waiting == 0 and port.watch.connected == 0)
        assert application.cancelled == ["/stubborn"]
        other = await port.client()
        assert (await other.ask(GET % b"other")).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_client_that_goes_leaves_nothing_behind() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + b"".join(GET % b"bytes?100000" for _ in range(500)))
        await eventually(lambda: application.waiting == 1)
        client.vanish()
        await asyncio.sleep(0.05)
        application.gate.set()
        await eventually(lambda: port.watch.connected == 0)
        assert len(application.asked) < 100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET",
        EXPECTING % 4,
        post("/", b"body")[:-1],
        GET % b"bytes?1000000",
        GET % b"raise",
        b"garbage\r\n\r\n",
        (GET % b"shed") * 3,
        (GET % b"bytes?100000") * 100 + b"garbage\r\n\r\n",
    ],
)
async def test_a_client_may_go_at_any_time(data: bytes) -> None:
    application = Application()
    async with opened(application, limits(rest_seconds=0.05)) as port:
        for delay in (0.0, 0.001, 0.02):
            client = await port.client()
            client.send(data)
            await asyncio.sleep(delay)
            client.vanish()
        await eventually(lambda: port.watch.connected == 0)
        assert (await (await port.client()).ask(GET % b"")).status == 200


async def test_a_client_that_does_not_read_is_not_computed_for_and_cut_off() -> None:
    application = Application()
    async with opened(application, limits(body_timeout_seconds=0.5)) as port:
        narrow = socket.create_connection(("127.0.0.1", port.number))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            narrow.sendall((GET % b"bytes?1000000") * 200)
            await eventually(lambda: len(application.asked) > 0)
            await eventually(lambda: port.watch.connected == 0)
            # What the system's own buffers hold, and one more.
            assert len(application.asked) < 50
        finally:
            narrow.close()


async def test_a_client_that_reads_slowly_gets_all_of_its_last_answer() -> None:
    async with opened() as port:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(narrow, ("127.0.0.1", port.number))
            size = 16 << 20
            request = b"GET /bytes?%d HTTP/1.1\r\nconnection: close\r\n\r\n" % size
            await loop.sock_sendall(narrow, request)
            await asyncio.sleep(3.0)  # longer than the port lingers
            received = 0
            while piece := await loop.sock_recv(narrow, 1 << 20):
                received += len(piece)
            assert received > size
        finally:
            narrow.close()


# Applications that fail.


@pytest.mark.parametrize("path", [b"raise", b"silent", b"cancel"])
async def test_an_application_that_does_not_answer_costs_the_connection(
    path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as port:
        client = await port.client()
        client.send(GET % b"good" + GET % path + GET % b"next")
        assert (await client.answer()).status == 200
        assert await client.rest() == b""
        client.writer.close()
        await eventually(lambda: port.watch.connected == 0)
        assert (await (await port.client()).ask(GET % b"")).status == 200
    traces = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert traces == (["/raise failed"] if path == b"raise" else [])


# Rest.


@pytest.mark.usefixtures("rests_are_long")
async def test_a_client_that_was_told_to_come_back_is_read_later() -> None:
    application = Application()
    async with opened(application, limits(rest_seconds=0.4)) as port:
        client, other = await port.client(), await port.client()
        client.send(GET % b"shed" + GET % b"a" + GET % b"b")
        assert (await client.answer()).status == 429
        client.send(GET % b"c")
        assert (await other.ask(GET % b"other")).status == 200
        paths = [(await client.answer()).headers["x-asked"] for _ in range(3)]
        assert paths == ["/a", "/b", "/c"]
        shed, next_one = (application.asked.index(path) for path in ("/shed", "/a"))
        assert application.asked[shed + 1] == "/other"
        assert application.begun_at[next_one] - application.begun_at[shed] >= 0.39
        assert port.watch.rests == 1
        # Who waits for its answer first is no exception.
        for _ in range(2):
            assert (await client.ask(GET % b"shed")).status == 429
        assert application.begun_at[-1] - application.begun_at[-2] >= 0.39


@pytest.mark.usefixtures("rests_are_long")
async def test_who_rests_and_sends_more_than_one_piece_is_held_back() -> None:
    size = 64 << 20
    async with opened(allowed=limits(rest_seconds=HANG_SECONDS, max_body_bytes=size)) as port:
        client = await port.client()
        assert (await client.ask(GET % b"shed")).status == 429
        client.send(post("/", b"a" * size))
        sending = asyncio.ensure_future(client.writer.drain())
        done, _ = await asyncio.wait((sending,), timeout=2.0)
        assert not done
        sending.cancel()
        client.vanish()


@pytest.mark.usefixtures("rests_are_long")
async def test_a_client_that_goes_while_it_rests_is_known_to_have_gone() -> None:
    application = Application()
    async with opened(application, limits(rest_seconds=HANG_SECONDS)) as port:
        client = await port.client()
        assert (await client.ask(GET % b"shed")).status == 429
        client.send(post("/", b""))
        await asyncio.sleep(0.05)
        client.vanish()
        await eventually(lambda: port.watch.connected == 0)
        assert application.asked == ["/shed"]


@pytest.mark.parametrize("cut", [6, 40, -1])
@pytest.mark.usefixtures("rests_are_long")
async def test_a_request_that_came_in_part_while_its_client_rested_is_answered(
    cut: int,
) -> None:
    request = post("/late", b"body")
    for pause_seconds in (0.0, 0.05, 0.4):
        async with opened(allowed=limits(rest_seconds=0.2)) as port:
            client = await port.client()
            assert (await client.ask(GET % b"shed")).status == 429
            client.send(request[:cut])
            await asyncio.sleep(pause_seconds)
            answer = await client.ask(request[cut:] + post("/more", b""))
            assert answer.json()["body"] == "body"
            assert (await client.answer()).json()["path"] == "/more"


@pytest.mark.usefixtures("rests_are_long")
async def test_who_rests_through_a_part_of_a_request_has_its_whole_time_for_the_others() -> None:
    async with opened(allowed=limits(rest_seconds=1.0, body_timeout_seconds=0.5)) as port:
        client = await port.client()
        request = post("/late", b"body")
        assert (await client.ask(GET % b"shed" + request[:40])).status == 429
        await asyncio.sleep(1.1)
        assert (await asked(client, request[40:]))["body"] == "body"


@pytest.mark.usefixtures("rests_are_long")
async def test_a_mistake_after_a_rest_is_still_told() -> None:
    async with opened(allowed=limits(rest_seconds=0.2)) as port:
        client = await port.client()
        client.send(GET % b"shed" + b"garbage\r\n\r\n")
        assert (await client.answer()).status == 429
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def test_nobody_rests_where_it_is_switched_off() -> None:
    async with opened(allowed=limits(rest_seconds=0.0)) as port:
        client = await port.client()
        for _ in range(50):
            assert (await client.ask(GET % b"shed")).status == 429
        assert port.watch.rests == 0


@pytest.mark.usefixtures("rests_are_long")
async def test_a_client_that_goes_while_it_rests_keeps_nobody_from_being_woken() -> None:
    async with opened(allowed=limits(rest_seconds=0.2)) as port:
        gone, other = await port.client(), await port.client()
        assert (await gone.ask((GET % b"shed") * 3)).status == 429
        gone.vanish()
        assert (await other.ask((GET % b"shed") * 4)).status == 429
        assert [(await other.answer()).status for _ in range(3)] == [429] * 3
        assert (await other.ask(GET % b"a")).status == 200
        await eventually(lambda: port.watch.connected == 1)


async def test_a_client_that_goes_while_it_rests_is_forgotten() -> None:
    async with opened(allowed=limits(rest_seconds=0.2)) as port:
        for _ in range(20):
            client = await port.client()
            assert (await client.ask(GET % b"shed")).status == 429
            client.vanish()
        await eventually(lambda: port.watch.connected == 0)
        assert port.watch.rests == 20
