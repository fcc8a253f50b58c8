"""The gateway's ASGI application: decode → admit → assign → backend → encode."""

from __future__ import annotations

import logging

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.config import AppConfig
from serve_app.errors import (
    MethodNotAllowedError,
    RequestError,
    SlimserveError,
    UnknownModelError,
    UnknownPathError,
    UnknownVariantError,
)
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.control import Control, check_token, explain_change
from serve_app.gateway.discovery import NO_PORTS, Discovery, Ports
from serve_app.gateway.documentation import Documentation
from serve_app.gateway.http import DisconnectedError, header, respond, respond_error, respond_json
from serve_app.gateway.infer import InferDoor
from serve_app.gateway.inference import Inference
from serve_app.gateway.model_config import ModelConfigs
from serve_app.gateway.predict import Predictor
from serve_app.gateway.repository import Repository
from serve_app.gateway.score import ScoreDoor
from serve_app.gateway.served import Served
from serve_app.gateway.shadow import Shadows
from serve_app.gateway.stats import Stats
from serve_app.gateway.variants import VariantAdmin
from serve_app.metrics import GatewayMetrics, render
from serve_app.openapi.example import Example
from serve_app.protocol.messages import ErrorResponse, encode
from serve_app.routing.table import check_variants, parse_change

_log = logging.getLogger("serve_app")


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
        ports: Ports = NO_PORTS,
    ) -> None:
        self._config = config
        self._served = served
        self._predictor = predictor
        self._shadows = shadows
        self._metrics = metrics
        self._control = control
        self._admin_token = admin_token
        limits = config.limits
        self._bodies = Bodies(limits.max_body_bytes, limits.body_timeout_seconds)
        document, manifests = served.document, served.manifests
        inference = Inference(predictor, shadows, metrics)
        self.variants = VariantAdmin(
            served, predictor, control, self._check_token, self._bodies.read
        )
        self._parts = (
            InferDoor(served, limits.max_rows, self._bodies, inference),
            Discovery(document, manifests, predictor, ports),
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
        """Routes of the variants that are served."""
        self.routes = self._build_routes()

    def _build_routes(self) -> dict[str, dict[str, Handler]]:
        model = self._served.document.name
        routes: dict[str, dict[str, Handler]] = {
            "/metrics": {"GET": self._get_metrics},
            f"/admin/v1/models/{model}/routing": {
                "GET": self._get_routing, "PUT": self._put_routing,
            },
        }  # fmt: skip
        for part in self._parts:
            routes |= part.routes()
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
