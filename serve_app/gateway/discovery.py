"""Health, readiness, metadata and the index: what a client reads before it asks."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from compression.store import Manifest, ModelDocument, TensorSpec
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.errors import BackendUnavailableError, NotReadyError
from serve_app.gateway.http import header, respond, respond_json
from serve_app.gateway.predict import Predictor
from serve_app.launcher.flags import explain_missing

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
"""Of the protocol, as Triton's clients know them by name."""

PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "torch": "pytorch_export"}


class Ports(NamedTuple):
    """Where the application is reached besides; None: nowhere."""

    grpc: int | None = None
    data: int | None = None


NO_PORTS = Ports()


class Discovery:
    """The GET routes of the protocol and `GET /`."""

    def __init__(
        self,
        document: ModelDocument,
        manifests: Mapping[str, Manifest],
        predictor: Predictor,
        ports: Ports = NO_PORTS,
    ) -> None:
        self._document = document
        self._manifests = manifests
        self._predictor = predictor
        self._ports = ports
        self._version = importlib.metadata.version("slimserve")

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method."""
        base = f"/v2/models/{self._document.name}"
        routes: dict[str, Handler] = {
            "/": self._index,
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            base: partial(self._metadata, None),
            f"{base}/ready": partial(self._variant_ready, None),
        }
        for name in self._manifests:
            routes[f"{base}/versions/{name}"] = partial(self._metadata, name)
            routes[f"{base}/versions/{name}/ready"] = partial(self._variant_ready, name)
        return {path: {"GET": handler} for path, handler in routes.items()}

    async def _index(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = self._document.name
        slow = explain_missing(os.environ)
        grpc, data = self._ports
        ports = {} if data is None else {"direct": _address(scope, "http", data)}
        ports |= {} if grpc is None else {"grpc": _address(scope, "grpc", grpc)}
        await respond_json(
            send,
            {
                "name": "slimserve",
                "version": self._version,
                "model": model,
                "variants": list(self._manifests),
                "score": f"/v1/models/{model}/score",
                "infer": f"/v2/models/{model}/infer",
                "docs": "/docs",
                "routing": f"/admin/v1/models/{model}/routing",
                "catalogue": f"/admin/v1/models/{model}/variants",
                "metrics": "/metrics",
                "protocol": "/v2",
                **ports,
                **({} if slow is None else {"warning": slow}),
            },
        )

    async def _server(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(
            send, {"name": "slimserve", "version": self._version, "extensions": EXTENSIONS}
        )

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b'{"live":true}')

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await self._predictor.ready():
            raise NotReadyError("the champion does not answer yet: try again")
        await respond(send, 200, b'{"ready":true}')

    async def _variant_ready(
        self, variant: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        name = variant or self._predictor.champion
        if not await self._predictor.backends[name].ready():
            raise NotReadyError(f"variant {name!r} does not answer: try again")
        await respond_json(send, {"name": self._document.name, "ready": True})

    async def _metadata(
        self, variant: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        name = variant or self._predictor.champion
        await respond_json(
            send,
            {
                "name": self._document.name,
                "versions": [variant] if variant else list(self._manifests),
                "platform": PLATFORMS[self._manifests[name].runtime.engine],
                "inputs": [_tensor(spec) for spec in self._document.inputs],
                "outputs": [_tensor(spec) for spec in self._document.outputs],
                "parameters": await self._parameters(name),
            },
        )

    async def _parameters(self, name: str) -> dict[str, Any]:
        """What the protocol's metadata has no field for."""
        manifest = self._manifests[name]
        backend = self._predictor.backends[name]
        try:
            detail = (await backend.describe())["detail"]
        except BackendUnavailableError as error:
            detail = str(error)
        return {
            "variant": name,
            "champion": name == self._predictor.champion,
            "placement": backend.placement,
            "runs_on": detail,
            "precision": manifest.runtime.precision,
            "bytes": manifest.bytes,
            "parameters": manifest.parameters,
            "gate": manifest.gate.verdict,
            "decision_threshold": manifest.decision_threshold,
            "routing_key": self._document.routing_key,
        }


def _address(scope: Scope, scheme: str, port: int) -> str:
    """On the host that the client asked."""
    host = (header(scope, b"host") or b"localhost").decode("latin-1")
    return f"{scheme}://{re.sub(':[0-9]*$', '', host)}:{port}"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
