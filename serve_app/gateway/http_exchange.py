"""What the exchanges over HTTP have in common: who is asked, on which terms, and who answered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from serve_app.asgi import RECEIVED, Header, Receive, Scope, Send
from serve_app.gateway.predict import Answer
from serve_app.routing.table import RoutingTable
from serve_app.terms import ANYBODY, read_terms

VARIANT_HEADER = b"x-slimserve-variant"
KEY_HEADER = b"x-slimserve-routing-key"
TABLE_VERSION_HEADER = b"x-slimserve-table-version"


class HttpExchange:
    """Base of an `Exchange`; `pin` is the variant that the path names."""

    __slots__ = ("_receive", "_scope", "_send", "pin", "started", "terms")

    def __init__(self, pin: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.pin = pin
        self.terms = ANYBODY
        self.started: float = scope.get(RECEIVED) or time.perf_counter()

    def _read_headers(self) -> tuple[Mapping[bytes, bytes], str | None]:
        """The headers, names in lower case, and the routing key in them; pins by them."""
        headers = dict(self._scope["headers"])
        if self.pin is None and (named := headers.get(VARIANT_HEADER)) is not None:
            self.pin = named.decode("latin-1")
        key = headers.get(KEY_HEADER)
        return headers, None if key is None else key.decode("latin-1")

    def _set_terms(self, headers: Mapping[bytes, bytes], timeout_seconds: float | None) -> None:
        """See `read_terms`."""
        client: Any = self._scope.get("client")
        self.terms = read_terms(headers, client, timeout_seconds, self.started)


def answered_by(answer: Answer, table: RoutingTable) -> tuple[Header, Header]:
    """Headers of an answer: the variant and the routing table's version."""
    return (
        (VARIANT_HEADER, answer.variant.encode()),
        (TABLE_VERSION_HEADER, b"%d" % table.version),
    )
