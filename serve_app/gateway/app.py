"""The gateway's ASGI application: decode → admit → assign → backend → encode."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serve_app.config import AppConfig
from serve_app.errors import (
    MethodNotAllowedError,
    QueueFullError,
    RequestError,
    SlimserveError,
    UnknownModelError,
    UnknownPathError,
    UnknownVariantError,
    UnsupportedError,
)
from serve_app.gateway.control import Control, check_token, explain_change
from serve_app.gateway.discovery import Discovery
from serve_app.gateway.http import (
    JSON,
    DisconnectedError,
    Handler,
    Header,
    Receive,
    Scope,
    Send,
    header,
    read_body,
    respond,
    respond_error,
    respond_json,
)
from serve_app.gateway.predict import Answer, Predictor
from serve_app.gateway.served import Served as Served
from serve_app.gateway.shadow import Shadows
from serve_app.gateway.variants import VariantAdmin
from serve_app.metrics import NO_VARIANT, GatewayMetrics, render
from serve_app.protocol.codec import Codec, Decoded
from serve_app.protocol.messages import ErrorResponse, encode
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import check_variants, parse_change

_log = logging.getLogger("serve_app")


class _Phases(NamedTuple):
    """Clock readings of a request, seconds."""

    started: float
    decoded: float


class GatewayApp:
    """Raw ASGI: `await app(scope, receive, send)`."""

    def __init__(
        self,
        config: AppConfig,
        served: Served,
        predictor: Predictor,
        shadows: Shadows,
        metrics: GatewayMetrics,
        control: Control,
        admin_token: str | None,
    ) -> None:
        self._config = config
        self._served = served
        self._predictor = predictor
        self._shadows = shadows
        self._metrics = metrics
        self._control = control
        self._admin_token = admin_token
        self._codec = Codec(served.document, config.limits.max_rows)
        self._variant_header: dict[str, Header] = {}
        self._discovery = Discovery(served.document, served.manifests, predictor)
        self._variants = VariantAdmin(
            served, predictor, control, self._check_token, config.limits.max_body_bytes
        )
        self._follow_served()
        served.when_changed(self._follow_served)

    def _follow_served(self) -> None:
        """Routes of the variants that are served; headers stay, for answers on their way."""
        for name in self._served.manifests:
            self._variant_header[name] = (b"x-slimserve-variant", name.encode())
        self._routes = self._build_routes()

    def _build_routes(self) -> dict[str, dict[str, Handler]]:
        model = self._served.document.name
        base = f"/v2/models/{model}"
        routes: dict[str, dict[str, Handler]] = {
            **self._discovery.routes(),
            **self._variants.routes(),
            "/metrics": {"GET": self._get_metrics},
            f"/admin/v1/models/{model}/routing": {
                "GET": self._get_routing, "PUT": self._put_routing,
            },
            f"{base}/infer": {"POST": partial(self._infer, None)},
        }  # fmt: skip
        for name in self._served.manifests:
            routes[f"{base}/versions/{name}/infer"] = {"POST": partial(self._infer, name)}
        return routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what is not HTTP (lifespan) is let through."""
        if scope["type"] != "http":
            await _lifespan(scope, receive, send)
            return
        try:
            await self._handler(scope["path"], scope["method"])(scope, receive, send)
        except SlimserveError as error:
            if isinstance(error, RequestError):
                self._metrics.rejections[error.reason].inc()
            await respond_error(send, error)
        except DisconnectedError:
            return
        except Exception:  # noqa: BLE001
            # The process boundary: the log gets the trace, the client an id to ask about.
            request_id = (header(scope, b"x-request-id") or b"none").decode("latin-1")
            _log.exception("request %s failed", request_id)
            body = encode(ErrorResponse(f"internal error, request id {request_id}"))
            await respond(send, 500, body)

    def _handler(self, path: str, method: str) -> Handler:
        methods = self._routes.get(path)
        if methods is None:
            methods = self._variants.route(path)
        if methods is None:
            raise self._unknown(path)
        handler = methods.get(method)
        if handler is None:
            allow = ", ".join(methods)
            raise MethodNotAllowedError(f"method: expected {allow}, given {method}", allow)
        return handler

    def _unknown(self, path: str) -> RequestError:
        model = self._served.document.name
        parts = path.strip("/").split("/")
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            if parts[2] != model:
                return UnknownModelError(f"model {parts[2]!r} is not served, expected {model!r}")
            if len(parts) > 4 and parts[3] == "versions" and parts[4] not in self._served.manifests:
                return UnknownVariantError(
                    f"version {parts[4]!r} of {model!r} is not served, expected one of "
                    f"{', '.join(self._served.manifests)}"
                )
        if parts[:3] == ["admin", "v1", "models"] and len(parts) > 3 and parts[3] != model:
            return UnknownModelError(f"model {parts[3]!r} is not served, expected {model!r}")
        return UnknownPathError(f"path {path!r} is not served, see GET /")

    async def _infer(self, pin: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """POST …/infer. Counts every request once, by the variant that had to do with it."""
        started = time.perf_counter()
        metrics = self._metrics
        metrics.in_flight.inc()
        who, outcome = pin or NO_VARIANT, "error"
        try:
            decoded, pin = await self._decode(pin, scope, receive)
            assignment = self._predictor.assignment
            assigned = self._predictor.choose(assignment, decoded.key, pin)
            who = assigned.variant
            phases = _Phases(started, time.perf_counter())
            answer = await self._predictor.predict(decoded, assigned)
            who, outcome = answer.variant, "ok" if answer.failed is None else "fallback"
            await self._send(send, decoded, assignment, answer, phases)
            self._shadow(decoded, assignment, answer)
        except QueueFullError as error:
            outcome = "shed"
            metrics.rejections[error.reason].inc()
            raise
        except RequestError:
            outcome = "invalid"
            raise
        except (asyncio.CancelledError, DisconnectedError):
            outcome = "cancelled"
            raise
        finally:
            metrics.in_flight.dec()
            counted = metrics.variant[who]
            counted.outcomes[outcome].inc()
            counted.request_seconds.observe(time.perf_counter() - started)

    def _shadow(self, decoded: Decoded, assignment: Assignment, answer: Answer) -> None:
        variant = assignment.shadow_variant
        if variant is not None and assignment.shadowed(decoded.key):
            outputs = answer.computed.outputs
            self._shadows.offer(variant, decoded.inputs, decoded.rows, answer.variant, outputs)

    async def _decode(
        self, pin: str | None, scope: Scope, receive: Receive
    ) -> tuple[Decoded, str | None]:
        key: str | None = None
        for name, value in scope["headers"]:
            if name == b"x-slimserve-variant" and pin is None:
                pin = value.decode("latin-1")
            elif name == b"x-slimserve-routing-key":
                key = value.decode("latin-1")
            elif name == b"inference-header-content-length":
                raise UnsupportedError(
                    "binary tensor data is not supported, send JSON (tritonclient: "
                    "binary_data=False for inputs and outputs)"
                )
        body = await read_body(scope, receive, self._config.limits.max_body_bytes)
        return self._codec.decode(body, key), pin

    async def _send(
        self,
        send: Send,
        decoded: Decoded,
        assignment: Assignment,
        answer: Answer,
        phases: _Phases,
    ) -> None:
        encoding = time.perf_counter()
        table = assignment.table
        parameters: dict[str, str | int] = {
            "variant": answer.variant,
            "experiment": table.experiment,
            "table_version": table.version,
            "why": answer.why,
        }
        if answer.failed is not None:
            parameters["failed_variant"] = answer.failed
        body = self._codec.encode(
            answer.computed.outputs, decoded.outputs, answer.variant, parameters, decoded.id
        )
        version = (b"x-slimserve-table-version", b"%d" % table.version)
        # Counted before it is sent: who has the answer and then reads /metrics finds it there.
        counted = self._metrics.variant[answer.variant]
        counted.phases["decode"].observe(phases.decoded - phases.started)
        counted.phases["queue"].observe(answer.computed.queue_seconds)
        counted.phases["infer"].observe(answer.computed.infer_seconds)
        counted.phases["encode"].observe(time.perf_counter() - encoding)
        counted.whys[answer.why].inc()
        counted.rows.inc(decoded.rows)
        await respond(send, 200, body, (JSON, self._variant_header[answer.variant], version))

    async def _get_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = render(await self._control.gather_metrics())
        await respond(send, 200, text, ((b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),))

    async def _get_routing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(send, self._predictor.assignment.table.model_dump(mode="json"))

    async def _put_routing(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_token(scope)
        body = await read_body(scope, receive, self._config.limits.max_body_bytes)
        change = parse_change(body, self._served.document.name)
        draft = change.draft()
        check_variants(draft, self._served.manifests.keys(), self._served.weightable)
        changed = await self._control.change_table(draft.model_dump(mode="json"), change.replaces)
        await respond_json(send, explain_change(changed))

    def _check_token(self, scope: Scope) -> None:
        variable = self._config.admin_token_env
        check_token(self._admin_token, variable, header(scope, b"authorization"))


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
