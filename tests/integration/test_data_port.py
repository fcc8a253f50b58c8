"""The gateways' own port: what is not the same as behind HAProxy, and what gateways do to it."""

from __future__ import annotations

import http.client
import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import psutil
import pytest

from tests.integration.load import Load, constant_load, kept_busy
from tests.integration.server import (
    GATEWAYS,
    INFER,
    LOADED,
    MAX_BODY_BYTES,
    ONGOING_REQUESTS,
    ROUTING,
    Response,
    Server,
    eventually,
)
from tests.support.store import CHAMPION, MODEL, request_body, score_body

CONNECTIONS = 40
"""So many that the system hands some to each gateway."""
LOADING = 4
"""Clients that never pause."""
HEAVY = f"/v2/models/{MODEL}/versions/heavy/infer"
LARGE_ROWS = 64
BUSY = 3
"""Large requests under way that do not leave a gateway's `heavy` idle."""
HOPS = {"connection", "date", "keep-alive", "server", "transfer-encoding", "x-request-id"}
"""Headers that are of the connection or of who sends the answer; the last is Ray's own."""

ALIKE: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "live": ("GET", "/v2/health/live", None, {}),
    "ready": ("GET", "/v2/health/ready", None, {}),
    "server": ("GET", "/v2", None, {}),
    "model": ("GET", f"/v2/models/{MODEL}", None, {}),
    "config": ("GET", f"/v2/models/{MODEL}/config", None, {}),
    "openapi": ("GET", "/openapi.json", None, {}),
    "routing": ("GET", ROUTING, None, {}),
    "catalogue": ("GET", LOADED, None, {}),
    "infer": ("POST", INFER, request_body(3, customer_id="c"), {}),
    "pinned": ("POST", INFER, request_body(customer_id="c"), {"x-slimserve-variant": "close"}),
    "in bytes": (
        "POST", INFER,
        {**request_body(customer_id="c"), "outputs": [
            {"name": "score", "parameters": {"binary_data": True}}
        ]}, {},
    ),
    "score": ("POST", f"/v1/models/{MODEL}/score", score_body(2, customer_id="c"), {}),
    "no JSON": ("POST", INFER, b"{", {}),
    "compressed": ("POST", INFER, b"\x1f\x8b", {"content-encoding": "gzip"}),
    "bad deadline": ("POST", INFER, request_body(), {"x-request-timeout-seconds": "soon"}),
    "unknown path": ("GET", "/nowhere", None, {}),
    "unknown variant": ("POST", INFER, request_body(), {"x-slimserve-variant": "nobody"}),
    "other method": ("GET", INFER, None, {}),
    "head": ("HEAD", "/v2/health/live", None, {}),
    "no token": ("PUT", ROUTING, {"replaces": 1, "weights": {CHAMPION: 1.0}}, {}),
    "no routing table": ("GET", f"/admin/v1/models/{MODEL}x/routing", None, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_both_ports_answer_alike(server: Server, name: str) -> None:
    server.route()

    def told(door: Server) -> tuple[int, dict[str, str], bytes]:
        answer = door.request(*ALIKE[name])
        headers = {key: value for key, value in answer.headers.items() if key not in HOPS}
        return answer.status, headers, answer.body

    assert told(server.direct) == told(server)


def test_each_says_where_the_other_is(server: Server) -> None:
    for door in (server, server.direct):
        assert door.request("GET", "/").json()["direct"] == f"http://127.0.0.1:{server.data_port}"


# Where the two differ on purpose.


def exchange(door: Server, sent: bytes) -> bytes:
    """Everything that is answered to some bytes, until the other side closes."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
        client.sendall(sent)
        received = b""
        while part := client.recv(65536):
            received += part
        return received


def head(length: int, *more: str) -> bytes:
    lines = (f"POST {INFER} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more)
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize(
    ("sent", "status", "reason", "message"),
    [
        (b"\0\xff\r\n\r\n", 400, "malformed", "request: expected HTTP/1.1"),
        (b"GET\r\n\r\n", 400, "malformed", "request: expected HTTP/1.1"),
        (head(-1), 400, "malformed", "request: expected HTTP/1.1"),
        (head(0, "Filler: " + "x" * 70_000), 431, "head_too_large", "headers: expected at most"),
        (head(MAX_BODY_BYTES + 1), 413, "body_too_large", "body: expected at most"),
        (head(10) + b"{", 408, "body_timeout", "body: expected within 1 s"),
    ],
    ids=["noise", "no target", "negative length", "long head", "large body", "half a body"],
)
def test_what_haproxy_or_ray_would_answer_the_gateway_answers_itself(
    server: Server, sent: bytes, status: int, reason: str, message: str
) -> None:
    """HAProxy answers some of it with a page of its own or not at all, and passes the rest on.

    There the gateway counts it as a request to infer, `invalid`; here nobody has asked for one yet.
    """
    before = server.total("rejections_total", reason=reason)
    invalid = server.total("requests_total", outcome="invalid")
    top, _, body = exchange(server.direct, sent).partition(b"\r\n\r\n")
    first, *headers = top.decode().split("\r\n")
    assert int(first.split(" ")[1]) == status
    assert "connection: close" in headers
    assert "content-type: application/json" in headers
    assert message in json.loads(body)["error"]
    assert server.total("rejections_total", reason=reason) == before + 1
    assert server.total("requests_total", outcome="invalid") == invalid


def test_requests_that_are_half_there_take_nobodys_turn(server: Server) -> None:
    """Behind HAProxy as many of them make it answer 429: see test_shedding."""
    with ExitStack() as stack:
        for _ in range(GATEWAYS * ONGOING_REQUESTS + 20):
            one = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.data_port), timeout=20)
            )
            one.sendall(head(1000) + b"{")
        assert [server.direct.infer(request_body()).status for _ in range(10)] == [200] * 10


def test_requests_beyond_what_a_gateway_may_have_wait_for_their_turn(server: Server) -> None:
    """Behind HAProxy the same flood would get 429."""
    body = json.dumps(request_body(3)).encode()
    flood = GATEWAYS * ONGOING_REQUESTS + 100
    answered = {"variant": "heavy", "outcome": "ok"}
    before = server.total("requests_total", **answered)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(flood)]
        for client in clients:
            client.request("POST", HEAVY, body)
        most = 0.0
        while server.total("requests_total", **answered) < before + flood / 4:
            most = max(most, *(value for _, value in server.direct.samples("in_flight")))
        assert ONGOING_REQUESTS * 0.9 <= most <= ONGOING_REQUESTS
        # Health is not asked to wait.
        assert server.direct.request("GET", "/v2/health/live").status == 200
        assert Counter(client.getresponse().status for client in clients) == {200: flood}


# How the gateways share it.


@contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    """A connection to the data port that is there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.data_port, timeout=30)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, body: Any = None) -> int:
    """Status of a prediction; 0: the connection broke, and the next one is asked on another."""
    try:
        connection.request("POST", INFER, json.dumps(body or request_body()))
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return answer.status


def connections(server: Server) -> dict[str, float]:
    """Clients at the data port by gateway; asked at the other port, it counts nobody else."""
    return {labels["replica"]: n for labels, n in server.samples("data_port_connections")}


def of(process: psutil.Process, server: Server) -> set[int]:
    """Ports of the clients that are connected to a gateway."""
    return {
        one.raddr.port
        for one in process.net_connections("tcp4")
        if one.laddr.port == server.data_port and one.raddr
    }


def all_serve(server: Server) -> bool:
    """Whether each gateway has some of many connections, and answers on them."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        served = [ask(client) for client in clients] == [200] * CONNECTIONS
        found = connections(server)
        return served and len(found) == GATEWAYS and min(found.values()) > 0


def test_gateways_share_the_port(server: Server) -> None:
    eventually(lambda: sum(connections(server).values()) == 0)
    counted = server.counts("requests_total", "replica", "outcome")
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        assert [ask(client) for client in clients] == [200] * CONNECTIONS
        found = connections(server)
        assert len(found) == GATEWAYS
        assert min(found.values()) > 0
        assert sum(found.values()) == CONNECTIONS
        # One request on each: what a gateway counts is what came over its connections.
        gained = server.counts("requests_total", "replica", "outcome") - counted
        assert {who: count for (who, outcome), count in gained.items() if outcome == "ok"} == found
    eventually(lambda: sum(connections(server).values()) == 0)


@pytest.mark.timeout(180)
def test_a_killed_gateway_takes_only_its_own_connections_with_it(server: Server) -> None:
    version = server.route({CHAMPION: 0.5, "close": 0.5})
    eventually(lambda: all_serve(server), 60)
    victim, survivor = server.replicas("Gateway")
    with constant_load(server.direct, LOADING) as load, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        assert [ask(client) for client in clients] == [200] * CONNECTIONS
        safe = of(survivor, server)
        victim.kill()
        victim.wait(10)
        on = [client.sock.getsockname()[1] in safe for client in clients]
        assert [ask(client) for client in clients] == [200 if lucky else 0 for lucky in on]
        assert [ask(client) for client in clients] == [200] * CONNECTIONS
        goal = load.statuses[200] + 50
        eventually(lambda: load.statuses[200] > goal)
        broken = load.statuses[0]
        eventually(lambda: all_serve(server), 90)
        # Its end was the end of what clients had to bear; its successor's start was unnoticed.
        assert load.statuses[0] == broken
    assert set(load.statuses) <= {0, 200}, load.failures
    # Once each, and once more who came back to it before it was gone.
    assert broken <= 2 * LOADING, load.failures
    assert {value for _, value in server.samples("table_version")} == {version}


# What changes under load.


def reached(load: Load, goals: Mapping[str, int]) -> bool:
    """Whether each variant has given so many answers."""
    return all(load.of(name) >= goal for name, goal in goals.items())


def test_routing_changes_lose_no_request(server: Server) -> None:
    server.route()
    with constant_load(server.direct) as load:
        for weights in ({CHAMPION: 0.5, "close": 0.5}, {"close": 1.0}, {CHAMPION: 1.0}):
            server.direct.route(weights)
            goals = {name: load.of(name) + 5 for name in weights}
            eventually(partial(reached, load, goals))
    assert set(load.statuses) == {200}, load.failures
    assert load.statuses[200] > 50


# Overload, deadlines, and clients that go.


def test_who_is_refused_rests_and_is_answered_again(server: Server) -> None:
    def counted() -> tuple[float, float]:
        shed = server.total("requests_total", variant="slow", outcome="shed")
        return server.total("data_port_rests_total"), shed

    path = f"/v2/models/{MODEL}/versions/slow/infer"

    def insist(_: int) -> list[Response]:
        with connected(server) as client:
            answers = []
            for _ in range(8):
                client.request("POST", path, json.dumps(request_body()))
                got = client.getresponse()
                named = {key.lower(): value for key, value in got.getheaders()}
                answers.append(Response(got.status, named, got.read()))
            return answers

    rests, shed = counted()
    with ThreadPoolExecutor(16) as pool:
        answers = [answer for some in pool.map(insist, range(16)) for answer in some]
    refused = [answer for answer in answers if answer.status == 429]
    assert Counter(answer.status for answer in answers).keys() == {200, 429}
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert "connection" not in answer.headers
        assert "variant 'slow' has 2 rows waiting, at most 2 may" in answer.json()["error"]
    assert counted() == (rests + len(refused), shed + len(refused))


def test_haproxys_clients_do_not_rest(server: Server) -> None:
    """A connection of HAProxy's is of many clients."""
    rests = server.total("data_port_rests_total")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server.infer(request_body(), "slow"), range(48)))
    assert 429 in {answer.status for answer in answers}
    assert server.total("data_port_rests_total") == rests


@contextmanager
def on_one_gateway(server: Server, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """Connections to the same gateway."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        [gateway, *_] = server.replicas("Gateway")
        eventually(lambda: sum(connections(server).values()) >= CONNECTIONS)
        theirs = of(gateway, server)
        found = [client for client in clients if client.sock.getsockname()[1] in theirs]
        assert len(found) >= count
        yield found[:count]


def ask_large(client: http.client.HTTPConnection) -> int:
    client.request("POST", HEAVY, json.dumps(request_body(LARGE_ROWS)))
    answer = client.getresponse()
    answer.read()
    return answer.status


def busy(
    server: Server, clients: Sequence[http.client.HTTPConnection]
) -> AbstractContextManager[list[int]]:
    return kept_busy(server, [partial(ask_large, client) for client in clients])


def test_a_deadline_is_kept(server: Server) -> None:
    before = server.total("requests_total", variant="heavy", outcome="deadline")
    with on_one_gateway(server, BUSY + 1) as (hurried, *others):
        with busy(server, others) as large:
            hurried.request(
                "POST", HEAVY, json.dumps(request_body()), {"x-request-timeout-seconds": "0.05"}
            )
            answer = hurried.getresponse()
            assert answer.status == 504
            assert "variant 'heavy' has no answer within the time" in answer.read().decode()
        assert set(large) == {200}
        assert server.total("requests_total", variant="heavy", outcome="deadline") == before + 1
        # It was in time for the client to go on with the connection.
        assert ask(hurried) == 200


def test_who_vanishes_is_counted_and_not_computed_for(server: Server) -> None:
    def counted() -> tuple[float, float]:
        cancelled = server.total("requests_total", variant="heavy", outcome="cancelled")
        return cancelled, server.total("batch_rows_sum", variant="heavy")

    cancelled, rows = counted()
    with on_one_gateway(server, BUSY + 4) as clients:
        gone, others = clients[:4], clients[4:]
        with busy(server, others) as large:
            for client in gone:
                client.request("POST", HEAVY, json.dumps(request_body()))
            for client in gone:
                client.close()
            eventually(lambda: counted()[0] == cancelled + 4)
    assert set(large) == {200}
    assert counted() == (cancelled + 4, rows + len(large) * LARGE_ROWS)
    eventually(lambda: server.total("in_flight") == 0)
