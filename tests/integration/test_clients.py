"""Clients that are slow, and clients that vanish."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.integration.server import BODY_TIMEOUT_SECONDS, INFER, Server, eventually
from tests.support.store import request_body

BODY = json.dumps(request_body()).encode()
HEAD = (
    f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()
CLIENTS = 30


@contextmanager
def connected(door: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as made:
        yield made


def test_a_body_that_trickles_in_is_answered(door: Server) -> None:
    with connected(door) as client:
        client.sendall(HEAD)
        pause = BODY_TIMEOUT_SECONDS / 10
        for start in range(0, len(BODY), len(BODY) // 4 + 1):
            time.sleep(pause)
            client.sendall(BODY[start : start + len(BODY) // 4 + 1])
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", BODY[:20]])
def test_bodies_that_never_end_are_given_up_and_others_answered(door: Server, sent: bytes) -> None:
    before = door.total("rejections_total", reason="body_timeout")
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(door)) for _ in range(CLIENTS)]
        for client in slow:
            client.sendall(HEAD + sent)
        assert [door.infer(request_body()).status for _ in range(10)] == [200] * 10
        for client in slow:
            assert client.recv(4096).startswith(b"HTTP/1.1 408")
    assert door.total("rejections_total", reason="body_timeout") == before + CLIENTS
    eventually(lambda: door.total("in_flight") == 0)


@pytest.mark.parametrize("sent", [HEAD[:30], HEAD, HEAD + BODY[:20], HEAD + BODY])
def test_clients_that_vanish_do_no_harm(door: Server, sent: bytes) -> None:
    for _ in range(CLIENTS):
        with connected(door) as client:
            # Close with a reset, as a process that dies does.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(sent)
    assert door.infer(request_body()).status == 200
    eventually(lambda: door.total("in_flight") == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\xff\r\n\r\n",
        b"GET\r\n\r\n",
        f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".encode(),
        f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: {'9' * 30}\r\n\r\n".encode(),
        f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".encode(),
    ],
)
def test_what_is_not_http_is_refused(door: Server, sent: bytes) -> None:
    with connected(door) as client:
        client.sendall(sent)
        answer = client.recv(4096)
    assert answer == b"" or answer.split(b" ")[1].startswith((b"4", b"505"))
    assert door.infer(request_body()).status == 200
