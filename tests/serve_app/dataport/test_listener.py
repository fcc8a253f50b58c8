from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket

import pytest

from serve_app.asgi import Receive, Scope, Send
from serve_app.dataport.connection import Connection
from serve_app.dataport.listener import DataPort
from serve_app.errors import PortTakenError
from tests.serve_app.dataport.ports import (
    GET,
    LIMITS,
    Answer,
    Application,
    Client,
    Port,
    Watching,
    eventually,
    limits,
    opened,
    post,
)
from tests.serve_app.gateway.fakes import Gateway
from tests.support.store import CHAMPION, request_body


def open_sockets() -> int:
    targets = (os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    return sum("socket:" in target for target in targets)


def connections() -> list[Connection]:
    return [thing for thing in gc.get_objects() if type(thing) is Connection]


# Who may connect.


async def test_one_too_many_waits_until_another_goes() -> None:
    application = Application()
    async with opened(application, limits(max_connections=2)) as port:
        busy = [await port.client(), await port.client()]
        for client in busy:
            client.send(b"GET /wait HTTP/1.1\r\nconnection: close\r\n\r\n")
        await eventually(lambda: application.waiting == 2)
        waiting = await port.client()
        waiting.send(GET % b"later")
        assert await waiting.silent(0.3)
        application.gate.set()
        assert (await waiting.answer()).json()["path"] == "/later"
        for client in busy:
            assert (await client.answer()).status == 200
        assert port.watch.most == 2


async def test_idle_connections_make_room() -> None:
    async with opened(allowed=limits(max_connections=1)) as port:
        idle = await port.client()
        for number in range(2):
            assert (await idle.ask(GET % b"")).status == 200
            next_one = await port.client()
            next_one.send(GET % b"%d" % number)
            assert (await next_one.answer()).json()["path"] == f"/{number}"
            assert await idle.rest() == b""
            idle = next_one
        assert port.watch.most == 1


async def test_connections_that_come_at_once_are_counted_once() -> None:
    application = Application()
    async with opened(application, limits(max_connections=100)) as port:
        clients = await asyncio.gather(*(port.client() for _ in range(100)))
        for client in clients:
            client.send(GET % b"wait")
        await eventually(lambda: application.waiting == 100)
        application.gate.set()
        for client in clients:
            assert (await client.answer()).status == 200
        assert port.watch.most == 100


async def test_more_clients_than_there_is_room_for_are_all_served() -> None:
    async with opened(allowed=limits(max_connections=5)) as port:

        async def one(number: int) -> Answer:
            client = await port.client()
            answer = await client.ask(b"GET /%d HTTP/1.1\r\nconnection: close\r\n\r\n" % number)
            client.writer.close()
            return answer

        answers = await asyncio.gather(*(one(number) for number in range(300)))
        assert [answer.json()["path"] for answer in answers] == [f"/{n}" for n in range(300)]
        assert port.watch.most <= 5


# Whose turn it is.


async def test_requests_wait_for_their_turn_in_the_order_they_came() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=2)) as port:
        clients = [await port.client() for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(post(f"/wait?{number}", b""))
            await asyncio.sleep(0.05)
        assert application.asked == ["/wait?0", "/wait?1"]
        application.gate.set()
        for client in clients:
            assert (await client.answer()).status == 200
        assert application.asked == [f"/wait?{number}" for number in range(5)]
        assert application.most_waiting == 2


async def test_who_was_just_answered_does_not_overtake_those_who_wait() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1)) as port:
        busy, waiting = await port.client(), await port.client()
        busy.send(post("/wait?1", b"") + post("/wait?3", b""))
        await eventually(lambda: application.waiting == 1)
        waiting.send(post("/wait?2", b""))
        await asyncio.sleep(0.05)
        application.gate.set()
        assert (await waiting.answer()).status == 200
        assert [(await busy.answer()).status for _ in range(2)] == [200, 200]
        assert application.asked == ["/wait?1", "/wait?2", "/wait?3"]
        assert application.most_waiting == 1


async def test_many_who_wait_begin_a_few_at_a_time_and_all_there_is_room_for() -> None:
    application = Application()
    turns = [0]

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if turns[-1] == 0:
            asyncio.get_running_loop().call_soon(turns.append, 0)
        turns[-1] += 1
        await application(scope, receive, send)

    async with opened(counted, limits(max_in_flight=150)) as port:
        clients = [await port.client() for _ in range(300)]
        for client in clients:
            client.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 150)
        begun = len(turns)
        turns.append(0)
        # Those in hand are answered at once, those after them are not.
        application.gate.set()
        application.gate.clear()
        await eventually(lambda: len(application.asked) == 300)
        assert application.most_waiting == 150
        assert max(turns[begun:]) == 64
        application.gate.set()
        for client in clients:
            assert (await client.answer()).status == 200


async def test_health_is_answered_however_many_wait() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1)) as port:
        busy, waiting, asking = [await port.client() for _ in range(3)]
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        waiting.send(post("/later", b""))
        assert (await asking.ask(GET % b"health")).json()["path"] == "/health"
        assert await waiting.silent()
        application.gate.set()
        assert (await waiting.answer()).json()["path"] == "/later"


@pytest.mark.parametrize("place", ["in hand", "waiting"])
async def test_who_vanishes_takes_nobodys_turn(place: str) -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1)) as port:
        busy, waiting, last = [await port.client() for _ in range(3)]
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        for client in (waiting, last):
            client.send(post("/later", b""))
            await asyncio.sleep(0.05)
        (busy if place == "in hand" else waiting).vanish()
        await eventually(lambda: port.watch.connected == 2)
        application.gate.set()
        assert (await last.answer()).json()["path"] == "/later"
        assert len(application.asked) == (3 if place == "in hand" else 2)


async def test_who_waits_for_a_turn_is_not_idle() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1, max_connections=2)) as port:
        busy, waiting, outside = [await port.client() for _ in range(3)]
        busy.send(post("/wait", b""))
        await eventually(lambda: application.waiting == 1)
        waiting.send(post("/later", b""))
        outside.send(GET % b"outside")
        await asyncio.sleep(2.0)  # an idle one would have made room
        application.gate.set()
        assert (await waiting.answer()).json()["path"] == "/later"
        assert (await outside.answer()).json()["path"] == "/outside"


async def test_an_answer_that_fails_ends_the_turn() -> None:
    application = Application()
    async with opened(application, limits(max_in_flight=1)) as port:
        for path in ("/raise", "/silent", "/cancel"):
            failing, next_one = await port.client(), await port.client()
            failing.send(post(path, b""))
            assert await failing.rest() == b""
            assert (await next_one.ask(post("/next", b""))).json()["path"] == "/next"


async def test_without_files_for_more_clients_it_goes_on_when_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened() as port:
        client = await port.client()
        assert (await client.ask(GET % b"")).status == 200
        late = socket.socket()
        late.setblocking(False)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The lowest number that is free is the next to be given.
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(late, ("127.0.0.1", port.number))
            await loop.sock_sendall(late, GET % b"late")
            await eventually(lambda: "no more connections" in caplog.text)
            assert (await client.ask(GET % b"")).status == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert (await loop.sock_recv(late, 100)).startswith(b"HTTP/1.1 200 OK")
        late.close()


# The port.


async def test_a_port_that_another_has_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        before = open_sockets()
        with pytest.raises(
            PortTakenError,
            match=rf"the data port 127\.0\.0\.1:{number} cannot be opened "
            r"\(Address already in use\): choose another as gateway\.data_port\.port",
        ):
            DataPort(Application(), LIMITS, Watching()).open("127.0.0.1", number)
        assert open_sockets() == before


async def test_an_address_of_nobody_cannot_be_opened() -> None:
    with pytest.raises(PortTakenError, match=r"192\.0\.2\.1:1234 cannot be opened"):
        DataPort(Application(), LIMITS, Watching()).open("192.0.2.1", 1234)


@pytest.mark.parametrize(
    ("host", "clients"),
    [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])],
)
async def test_it_listens_at_addresses_of_either_kind(host: str, clients: list[str]) -> None:
    port = DataPort(Application(), LIMITS, Watching())
    number = port.open(host, 0)
    for address in clients:
        reader, writer = await asyncio.open_connection(address, number)
        writer.write(GET % b"")
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        writer.close()
    await port.close(0.1)


async def test_gateways_share_a_port() -> None:
    first, second = Application(), Application()
    async with opened(first) as port, opened(second, number=port.number) as other:
        assert other.number == port.number
        for _ in range(100):
            client = await port.client()
            assert (await client.ask(GET % b"")).status == 200
        assert len(first.asked) + len(second.asked) == 100
        assert first.asked
        assert second.asked


# Closing.


async def test_what_is_being_computed_is_answered_and_told_that_it_is_the_last() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait")
        await eventually(lambda: application.waiting == 1)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(0.05)
        assert not closing.done()
        application.gate.set()
        answer = await client.answer()
        assert (answer.status, answer.closes) == (200, True)
        assert await client.rest() == b""
        await closing
        assert port.watch.connected == 0
        with pytest.raises(ConnectionRefusedError):
            await port.client()


async def test_all_that_was_asked_at_once_is_answered_before_it_goes() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + GET % b"a" + post("/b", b"B") + b"POST /c HTTP/1.1\r\ncont")
        await eventually(lambda: application.waiting == 1)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(0.05)
        application.gate.set()
        answers = [await client.answer() for _ in range(3)]
        assert [answer.closes for answer in answers] == [False, False, True]
        assert answers[2].json()["body"] == "B"
        assert await client.rest() == b""  # which tells that the last one was not begun
        client.writer.close()
        await closing


async def test_a_request_on_its_way_is_answered_before_it_goes() -> None:
    async with opened() as port:
        client = await port.client()
        client.send(post("/", b"body")[:-1])
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(1.2)  # idle ones would have been told to go
        last = await client.ask(b"y")
        assert (last.json()["body"], last.closes) == ("body", True)
        await closing


async def test_the_last_answer_arrives_though_the_client_asked_for_more() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + (GET % b"bytes?10") * 40_000)
        await eventually(lambda: application.waiting == 1)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(0.05)
        application.gate.set()
        while not (answer := await client.answer()).closes:
            assert answer.status == 200
        assert await client.rest() == b""
        client.writer.close()
        await closing
        assert len(application.asked) < 40_000


async def test_a_mistake_after_the_last_answer_is_still_told() -> None:
    application = Application()
    async with opened(application) as port:
        client = await port.client()
        client.send(GET % b"wait" + b"garbage\r\n\r\n")
        await eventually(lambda: application.waiting == 1)
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(0.05)
        application.gate.set()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 400
        client.writer.close()
        await closing


async def test_idle_clients_get_a_moment_to_ask_once_more() -> None:
    async with opened() as port:
        quick, slow = await port.client(), await port.client()
        for client in (quick, slow):
            assert (await client.ask(GET % b"")).status == 200
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        await asyncio.sleep(0.3)
        answer = await quick.ask(GET % b"once-more")
        assert (answer.status, answer.closes) == (200, True)
        assert await slow.rest() == b""
        await closing


async def test_who_rests_is_answered_before_it_goes() -> None:
    async with opened(allowed=limits(rest_seconds=60.0)) as port:
        clients = [await port.client() for _ in range(40)]
        for client in clients:
            client.send(GET % b"shed")
        for client in clients:
            assert (await client.answer()).status == 429
            client.send(GET % b"shed")
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        for client in clients:
            answer = await client.answer()
            assert answer.status == 429
        rests = port.watch.rests
        await closing
        assert port.watch.rests == rests


async def test_whoever_is_there_when_the_grace_is_over_is_cut_off() -> None:
    application = Application()
    async with opened(application) as port:
        clients = [await port.client() for _ in range(3)]
        clients[0].send(GET % b"wait")
        clients[1].send(post("/", b"body")[:-1])
        await eventually(lambda: application.waiting == 1)
        async with asyncio.timeout(10):
            await port.data_port.close(0.2)
        await eventually(lambda: port.watch.connected == 0)
        assert application.cancelled == ["/wait"]
        for client in clients:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.answer()


async def test_closing_twice_does_no_harm() -> None:
    async with opened() as port:
        client = await port.client()
        assert (await client.ask(GET % b"")).status == 200
        closing = [asyncio.ensure_future(port.data_port.close(0.2)) for _ in range(2)]
        await asyncio.gather(*closing)
        await port.data_port.close(0.2)
    await DataPort(Application(), LIMITS, Watching()).close(1.0)


async def test_those_in_the_systems_queue_are_answered_however_full_it_is() -> None:
    application = Application()
    async with opened(application, limits(max_connections=1)) as port:
        busy = await port.client()
        busy.send(GET % b"wait")
        await eventually(lambda: application.waiting == 1)
        queued = [await port.client() for _ in range(10)]
        for client in queued:
            client.send(GET % b"queued")
        closing = asyncio.ensure_future(port.data_port.close(10.0))
        for client in queued:
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, True)
        application.gate.set()
        assert (await busy.answer()).closes
        await closing


class Load:
    """Clients that keep their connection until they are told to leave it."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.ends = False
        self.answered = 0
        self.told = 0

    async def client(self, pause_seconds: float) -> None:
        """Ask on, and fail if one request is lost."""
        client: Client | None = None
        while not self.ends:
            if client is None:
                client = await self._port.client()
            answer = await client.ask(post("/load", b"x" * 1000))
            assert answer.status == 200
            self.answered += 1
            if answer.closes:
                self.told += 1
                client.writer.close()
                client = None
            await asyncio.sleep(pause_seconds)


async def test_no_request_is_lost_when_one_of_two_that_share_a_port_closes() -> None:
    async with opened() as port, opened(number=port.number) as other:
        load = Load(other)
        clients = [
            asyncio.ensure_future(load.client(pause))
            for pause in (0.0, 0.001, 0.003, 0.01, 0.05, 0.2) * 5
        ]
        await eventually(lambda: load.answered > 200 and port.watch.connected > 3)
        await port.data_port.close(5.0)
        closed_at = load.answered
        assert port.watch.connected == 0
        assert load.told > 3
        await eventually(lambda: load.answered > closed_at + 200)
        load.ends = True
        await asyncio.gather(*clients)


# What stays behind.


async def test_no_socket_and_no_connection_stays_open() -> None:
    gc.collect()
    before = len(connections())
    async with opened(allowed=limits(rest_seconds=0.05)) as port:
        sockets = open_sockets()
        ways = (
            GET % b"", GET % b"shed", b"garbage\r\n\r\n", b"GET", GET % b"silent", GET % b"wait",
            b"GET / HTTP/1.0\r\n\r\n", b"",
        )  # fmt: skip
        for round_number in range(5):
            clients = [await port.client() for _ in ways]
            for client, data in zip(clients, ways, strict=True):
                client.send(data)
            await asyncio.sleep(0.02)
            for client in clients:
                client.vanish() if round_number % 2 else client.writer.close()
        assert len(connections()) > before
        await eventually(lambda: port.watch.connected == 0)
        await eventually(lambda: open_sockets() == sockets)
        gc.collect()
        assert len(connections()) == before


# The gateway's own application.


async def test_the_gateway_answers_over_its_port() -> None:
    gateway = Gateway()
    gateway.route({CHAMPION: 1.0})
    async with opened(gateway.app, limits(max_body_bytes=4096)) as port:
        client = await port.client()
        body = json.dumps(request_body()).encode()
        client.send(post("/v2/models/fraud/infer", body) * 3)
        for _ in range(3):
            answer = await client.answer()
            assert answer.status == 200
            assert answer.headers["x-slimserve-variant"] == CHAMPION
            assert answer.json()["model_name"] == "fraud"
        assert (await client.ask(GET % b"nowhere")).status == 404
        assert (await client.ask(GET % b"v2/models/fraud/infer")).headers["allow"] == "POST"
        assert (await client.ask(post("/v2/models/fraud/infer", b"{"))).status == 400
        assert (await client.ask(post("/v2/models/fraud/infer", b"x" * 5000))).status == 413
        assert await client.rest() == b""
        assert gateway.value("requests_total", variant=CHAMPION, outcome="ok") == 3


async def test_the_gateway_does_not_compute_for_who_went() -> None:
    gateway = Gateway()
    gateway.route({CHAMPION: 1.0})
    backend = gateway.backends[CHAMPION]
    backend.gate = asyncio.Event()
    async with opened(gateway.app) as port:
        client = await port.client()
        client.send(post("/v2/models/fraud/infer", json.dumps(request_body()).encode()))
        await eventually(lambda: backend.calls == 1)
        assert gateway.value("in_flight") == 1
        client.vanish()
        await eventually(lambda: gateway.value("in_flight") == 0)
