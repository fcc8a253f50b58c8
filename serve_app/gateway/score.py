"""POST /v1/models/{m}/score: rows by name in, a score and a decision for each out.

Another form of the same request: variants, limits, batches, shadows and metrics are those of
POST …/infer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

from compression.store import ModelDocument
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.errors import MalformedRequestError
from serve_app.gateway.http import JSON, check_encoding, respond
from serve_app.gateway.http_exchange import HttpExchange, answered_by
from serve_app.gateway.inference import Exchange, Inference, Parameters
from serve_app.gateway.predict import Answer
from serve_app.protocol.codec import Decoded
from serve_app.protocol.rows import RowsReader
from serve_app.protocol.scores import ScoresWriter
from serve_app.routing.table import RoutingTable


def score_path(model: str) -> str:
    """Where a model's rows are scored."""
    return f"/v1/models/{model}/score"


class ScoreDoor:
    """The friendlier door."""

    def __init__(
        self,
        document: ModelDocument,
        variants: Container[str],
        max_rows: int,
        read_body: Callable[[Scope, Receive], Awaitable[bytes]],
        inference: Inference,
    ) -> None:
        """`variants` are those that are served, asked anew for every request."""
        self._path = score_path(document.name)
        self._inference = inference
        self.variants = variants
        self.read_body = read_body
        self.reader = RowsReader(document, max_rows)
        self.writer = ScoresWriter(document)

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        return {self._path: {"POST": self._score}}

    def _score(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._inference.answer(_ScoreExchange(self, scope, receive, send))


class _ScoreExchange(HttpExchange, Exchange[bytes]):
    """One request to score over HTTP."""

    def __init__(self, door: ScoreDoor, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(None, scope, receive, send)
        self._door = door

    async def read(self) -> Decoded:
        """See `Exchange.read`. What the body says goes before what the headers say."""
        headers, key = self._read_headers()
        self._set_terms(headers, None)
        body = await self._door.read_body(self._scope, self._receive)
        try:
            asked = self._door.reader.read(body, key)
        except MalformedRequestError:
            check_encoding(self._scope)
            raise
        # A header that names nobody is refused, even where the body names somebody.
        if asked.pin is not None and (self.pin is None or self.pin in self._door.variants):
            self.pin = asked.pin
        return asked.decoded

    def encode(self, decoded: Decoded, answer: Answer, parameters: Parameters) -> bytes:
        """See `Exchange.encode`."""
        return self._door.writer.write(answer.computed.outputs, answer.threshold, parameters)

    async def send(self, encoded: bytes, answer: Answer, table: RoutingTable) -> None:
        """See `Exchange.send`."""
        await respond(self._send, 200, encoded, (JSON, *answered_by(answer, table)))
