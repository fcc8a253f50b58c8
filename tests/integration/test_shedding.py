"""More requests at once than the gateways may have: HAProxy answers, and they are left alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

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


def _refused(server: Server) -> Response | None:
    """What a prediction is answered while the gateways are full, None if they were not."""
    with _half_sent(server, MOST + 20):
        answer = server.infer(request_body())
        if answer.status != 429:
            return None
        # Whoever watches an overloaded server still sees it.
        assert server.request("GET", "/v2/health/live").status == 200
        return answer


def test_haproxy_sheds_predictions_beyond_what_gateways_may_have(server: Server) -> None:
    # A gateway gives bodies up that do not come: on a busy machine they may not all be there.
    shed = eventually(lambda: _refused(server), 30.0)
    assert shed is not None
    assert shed.headers["retry-after"] == "1"
    assert "too many requests" in shed.json()["error"]
    assert eventually(lambda: server.infer(request_body()).status == 200)
