"""More requests at once than the gateways may have: HAProxy answers, and they are left alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from tests.integration.server import GATEWAYS, INFER, ONGOING_REQUESTS, Response, Server, eventually
from tests.support.store import request_body

MOST = GATEWAYS * ONGOING_REQUESTS


@contextlib.contextmanager
def _half_sent(server: Server, count: int) -> Iterator[None]:
    """Requests whose body never comes to its end: each is one that a gateway has to do with."""
    head = (
        f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000\r\n\r\n{"
    ).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            one.sendall(head)
        yield


def _refusal(server: Server, body: Any) -> Response | None:
    answer = server.infer(body)
    return answer if answer.status == 429 else None


def test_haproxy_sheds_predictions_beyond_what_gateways_may_have(server: Server) -> None:
    body = request_body()
    with _half_sent(server, MOST + 20):
        shed = eventually(lambda: _refusal(server, body))
        assert shed is not None
        assert shed.headers["retry-after"] == "1"
        assert "too many requests" in shed.json()["error"]
        # Whoever watches an overloaded server still sees it.
        assert server.request("GET", "/v2/health/live").status == 200
        assert server.samples("in_flight")
    assert eventually(lambda: server.infer(body).status == 200)
