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
    MalformedRequestError,
    MethodNotAllowedError,
    RequestError,
    ServingError,
    SlimserveError,
    UnknownModelError,
    UnknownPathError,
    UnknownVariantError,
)
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.control import Control, check_token, explain_change
from serve_app.gateway.discovery import Discovery
from serve_app.gateway.documentation import Documentation
from serve_app.gateway.http import (
    JSON,
    OCTETS,
    DisconnectedError,
    Handler,
    Header,
    Receive,
    Scope,
    Send,
    check_encoding,
    header,
    respond,
    respond_error,
    respond_json,
)
from serve_app.gateway.inference import FAILURES, OUTCOMES, Inference
from serve_app.gateway.model_config import ModelConfigs
from serve_app.gateway.predict import Answer, Predictor
from serve_app.gateway.repository import Repository
from serve_app.gateway.score import ScoreDoor
from serve_app.gateway.served import Served as Served
from serve_app.gateway.shadow import Shadows
from serve_app.gateway.stats import Stats
from serve_app.gateway.variants import VariantAdmin
from serve_app.metrics import NO_VARIANT, GatewayMetrics, render
from serve_app.openapi.example import Example
from serve_app.protocol.binary import HEADER, parse_json_bytes
from serve_app.protocol.codec import Codec, Decoded
from serve_app.protocol.messages import ErrorResponse, encode
from serve_app.routing.assignment import Assignment
from serve_app.routing.table import check_variants, parse_change
from serve_app.terms import Terms, read_terms

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
        example: Example,
        grpc_port: int | None = None,
    ) -> None:
        """`grpc_port` is where clients speak gRPC; None: nowhere."""
        self._config = config
        self._served = served
        self._predictor = predictor
        self._shadows = shadows
        self._metrics = metrics
        self._control = control
        self._admin_token = admin_token
        self._codec = Codec(served.document, config.limits.max_rows)
        self._variant_header: dict[str, Header] = {}
        limits = config.limits
        self._bodies = Bodies(limits.max_body_bytes, limits.body_timeout_seconds)
        document, manifests = served.document, served.manifests
        inference = Inference(predictor, shadows, metrics)
        self.variants = VariantAdmin(
            served, predictor, control, self._check_token, self._bodies.read
        )
        self._parts = (
            Discovery(document, manifests, predictor, grpc_port),
            ModelConfigs(config, served),
            Stats(document.name, manifests, control),
            Repository(document.name, predictor, self.variants, self._check_token, self._bodies),
            ScoreDoor(document, manifests, limits.max_rows, self._bodies.read, inference),
            Documentation(document, manifests, limits.max_rows, example),
            self.variants,
        )
        self._follow_served()
        served.when_changed(self._follow_served)

    def _follow_served(self) -> None:
        """Routes of the variants that are served; headers stay, for answers on their way."""
        for name in self._served.manifests:
            self._variant_header[name] = (b"x-slimserve-variant", name.encode())
        self.routes = self._build_routes()

    def _build_routes(self) -> dict[str, dict[str, Handler]]:
        model = self._served.document.name
        base = f"/v2/models/{model}"
        routes: dict[str, dict[str, Handler]] = {
            "/metrics": {"GET": self._get_metrics},
            f"/admin/v1/models/{model}/routing": {
                "GET": self._get_routing, "PUT": self._put_routing,
            },
            f"{base}/infer": {"POST": partial(self._infer, None)},
        }  # fmt: skip
        for part in self._parts:
            routes |= part.routes()
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
        methods = self.routes.get(path)
        if methods is None:
            methods = self.variants.route(path)
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
        if parts[:2] in (["v1", "models"], ["v2", "models"]) and len(parts) > 2:
            if parts[2] != model:
                return UnknownModelError(f"model {parts[2]!r} is not served, expected {model!r}")
            if len(parts) > 4 and parts[3] == "versions" and parts[4] not in self._served.manifests:
                return UnknownVariantError(
                    f"version {parts[4]!r} of {model!r} is not served, expected one of "
                    f"{', '.join(self._served.manifests)}"
                )
        others = (["admin", "v1", "models"], ["v2", "repository", "models"])
        if parts[:3] in others and len(parts) > 3 and parts[3] != model:
            return UnknownModelError(f"model {parts[3]!r} is not served, expected {model!r}")
        return UnknownPathError(f"path {path!r} is not served, see GET /")

    async def _infer(self, pin: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """POST …/infer. Counts every request once, by the variant that had to do with it."""
        started = time.perf_counter()
        metrics = self._metrics
        metrics.in_flight.inc()
        who, outcome = pin or NO_VARIANT, "error"
        try:
            decoded, pin, terms = await self._decode(pin, scope, receive, started)
            assignment = self._predictor.assignment
            assigned = self._predictor.choose(assignment, decoded.key, pin)
            who = assigned.variant
            phases = _Phases(started, time.perf_counter())
            answer = await self._predictor.predict(decoded, assigned, terms)
            who, outcome = answer.variant, "ok" if answer.failed is None else "fallback"
            await self._send(send, decoded, assignment, answer, phases)
            self._shadow(decoded, assignment, answer)
        except ServingError as error:
            outcome = OUTCOMES.get(error.reason, "error")
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
            seconds = time.perf_counter() - started
            counted.request_seconds.observe(seconds)
            if outcome in FAILURES and who != NO_VARIANT:
                metrics.statistics[who].fail(seconds)

    def _shadow(self, decoded: Decoded, assignment: Assignment, answer: Answer) -> None:
        variant = assignment.shadow_variant
        if variant is not None and assignment.shadowed(decoded.key):
            outputs = answer.computed.outputs
            self._shadows.offer(variant, decoded.inputs, decoded.rows, answer.variant, outputs)

    async def _decode(
        self, pin: str | None, scope: Scope, receive: Receive, started: float
    ) -> tuple[Decoded, str | None, Terms]:
        headers = dict(scope["headers"])
        if pin is None and (named := headers.get(b"x-slimserve-variant")) is not None:
            pin = named.decode("latin-1")
        named = headers.get(b"x-slimserve-routing-key")
        key = None if named is None else named.decode("latin-1")
        named = headers.get(HEADER)
        json_bytes = None if named is None else parse_json_bytes(named)
        body = await self._bodies.read(scope, receive)
        try:
            decoded = self._codec.decode(body, key, json_bytes)
        except MalformedRequestError:
            check_encoding(scope)
            raise
        terms = read_terms(headers, scope.get("client"), decoded.timeout_seconds, started)
        return decoded, pin, terms

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
        version = (b"x-slimserve-table-version", b"%d" % table.version)
        headers = [JSON, self._variant_header[answer.variant], version]
        computed = answer.computed
        if decoded.binary:
            body, json_bytes = self._codec.encode_mixed(
                computed.outputs, decoded.outputs, decoded.binary, answer.variant, parameters,
                decoded.id,
            )  # fmt: skip
            headers[0] = OCTETS
            headers.append((HEADER, b"%d" % json_bytes))
        else:
            body = self._codec.encode(
                computed.outputs, decoded.outputs, answer.variant, parameters, decoded.id
            )
        # Counted before it is sent: who has the answer and then reads /metrics finds it there.
        self._count(decoded, answer, phases, encoding)
        await respond(send, 200, body, headers)

    def _count(self, decoded: Decoded, answer: Answer, phases: _Phases, encoding: float) -> None:
        counted = self._metrics.variant[answer.variant]
        computed, now = answer.computed, time.perf_counter()
        decode_seconds, encode_seconds = phases.decoded - phases.started, now - encoding
        queue_seconds, infer_seconds = computed.queue_seconds, computed.infer_seconds
        counted.phases["decode"].observe(decode_seconds)
        counted.phases["queue"].observe(queue_seconds)
        counted.phases["infer"].observe(infer_seconds)
        counted.phases["encode"].observe(encode_seconds)
        counted.whys[answer.why].inc()
        counted.rows.inc(decoded.rows)
        statistics, seconds = self._metrics.statistics, now - phases.started
        statistics[answer.variant].answer(
            seconds, decode_seconds, queue_seconds, infer_seconds, encode_seconds
        )
        if answer.failed is not None:
            # Until the champion was asked.
            statistics[answer.failed].fail(seconds - queue_seconds - infer_seconds)

    async def _get_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = render(await self._control.gather_metrics())
        await respond(send, 200, text, ((b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),))

    async def _get_routing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(send, self._predictor.assignment.table.model_dump(mode="json"))

    async def _put_routing(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_token(scope)
        body = await self._bodies.read(scope, receive)
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
