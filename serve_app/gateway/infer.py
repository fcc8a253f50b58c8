"""POST …/infer: tensors in JSON, in bytes or mixed, and answers in the form that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from serve_app.asgi import Handler, Header, Receive, Scope, Send
from serve_app.errors import MalformedRequestError
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.http import JSON, OCTETS, check_encoding, respond
from serve_app.gateway.http_exchange import HttpExchange, answered_by
from serve_app.gateway.inference import Exchange, Inference, Parameters
from serve_app.gateway.predict import Answer
from serve_app.gateway.served import Served
from serve_app.protocol.binary import HEADER, parse_json_bytes
from serve_app.protocol.codec import Codec, Decoded
from serve_app.routing.table import RoutingTable

_Encoded = tuple[bytes, int | None]
"""The body, and how many of its bytes are JSON; None: all of them."""


class InferDoor:
    """The protocol's door over HTTP."""

    def __init__(self, served: Served, max_rows: int, bodies: Bodies, inference: Inference) -> None:
        self._served = served
        self._inference = inference
        self.bodies = bodies
        self.codec = Codec(served.document, max_rows)

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method; a version is a variant, and pins it."""
        base = f"/v2/models/{self._served.document.name}"
        routes: dict[str, dict[str, Handler]] = {
            f"{base}/infer": {"POST": partial(self._infer, None)}
        }
        for name in self._served.manifests:
            routes[f"{base}/versions/{name}/infer"] = {"POST": partial(self._infer, name)}
        return routes

    def _infer(
        self, pin: str | None, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        return self._inference.answer(_InferExchange(self, pin, scope, receive, send))


class _InferExchange(HttpExchange, Exchange[_Encoded]):
    """One request to infer over HTTP."""

    __slots__ = ("_door",)

    def __init__(
        self, door: InferDoor, pin: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        super().__init__(pin, scope, receive, send)
        self._door = door

    async def read(self) -> Decoded:
        """See `Exchange.read`."""
        scope = self._scope
        headers, key = self._read_headers()
        named = headers.get(HEADER)
        json_bytes = None if named is None else parse_json_bytes(named)
        body = await self._door.bodies.read(scope, self._receive)
        try:
            decoded = self._door.codec.decode(body, key, json_bytes)
        except MalformedRequestError:
            check_encoding(scope)
            raise
        self._set_terms(headers, decoded.timeout_seconds)
        return decoded

    def encode(self, decoded: Decoded, answer: Answer, parameters: Parameters) -> _Encoded:
        """See `Exchange.encode`."""
        codec, outputs, variant = self._door.codec, answer.computed.outputs, answer.variant
        if decoded.binary:
            return codec.encode_mixed(
                outputs, decoded.outputs, decoded.binary, variant, parameters, decoded.id
            )
        return codec.encode(outputs, decoded.outputs, variant, parameters, decoded.id), None

    async def send(self, encoded: _Encoded, answer: Answer, table: RoutingTable) -> None:
        """See `Exchange.send`."""
        body, json_bytes = encoded
        headers: list[Header] = [
            JSON if json_bytes is None else OCTETS,
            *answered_by(answer, table),
        ]
        if json_bytes is not None:
            headers.append((HEADER, b"%d" % json_bytes))
        await respond(self._send, 200, body, headers)
