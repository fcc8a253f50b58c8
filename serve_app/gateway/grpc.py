"""The Open Inference Protocol over gRPC: the same gateway, by another door.

Ray Serve calls the service's methods on the ingress deployment, by their names. Under HAProxy each
ingress replica has a gRPC server of its own, on the event loop of the gateway, and HAProxy speaks
HTTP/2 to it on Ray Serve's `grpc_options.port`; without HAProxy calls come through Ray's Python
proxy. Either way one and the same replica, and one `Predictor`, answers both protocols: an ASGI
ingress class may have methods beside its ASGI application. So there is no second deployment (a hop
costs a millisecond), and no server of our own, which Ray's health checks, draining and load
balancing would not know of.

What it costs: h2load over HAProxy, one replica, a model of 0.05 ms, 244 floats a row, two busy
cores shared with the client, five rounds in turn with JSON over HTTP:

    rows, connections   JSON, req/s   gRPC raw, against JSON   CPU ms a request, JSON and gRPC raw
    1, 1                1,270         0.76× (0.71 to 0.81)     0.67 and 1.08
    1, 16               1,920         0.54× (0.47 to 0.66)     0.55 and 0.97
    8, 16               1,330         0.84× (0.64 to 1.06)     0.77 and 1.03
    32, 16              205           3.95× (1.94 to 4.57)     4.68 and 1.33

Typed contents cost as much as raw ones. Of the Python in a request of one row two thirds are Ray
Serve's, around our method.

A status is set on the context and an empty message returned. An exception would bring the same
status to the client, but Ray Serve logs each with its trace, and a client's mistakes are no
errors of the server.
"""

from __future__ import annotations

import importlib.metadata
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from grpc import StatusCode

from compression.store import Manifest, ModelDocument, TensorSpec
from serve_app.config import LimitsConfig
from serve_app.errors import (
    BodyTooLargeError,
    ControlError,
    QueueFullError,
    RequestError,
    ServingError,
    SlimserveError,
    UnknownModelError,
    UnknownVariantError,
)
from serve_app.gateway.discovery import PLATFORMS
from serve_app.gateway.inference import Inference, Parameters
from serve_app.gateway.predict import Answer, Predictor
from serve_app.metrics import GatewayMetrics
from serve_app.protocol.codec import Decoded
from serve_app.protocol.inference import messages_pb2 as messages
from serve_app.protocol.protobuf import ProtobufCodec, parameter
from serve_app.routing.table import RoutingTable
from serve_app.terms import ANYBODY, read_terms

_log = logging.getLogger("serve_app")

PIN = "x-slimserve-variant"
KEY = "x-slimserve-routing-key"

CODES: Mapping[int, StatusCode] = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    405: StatusCode.UNIMPLEMENTED,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.ABORTED,
    # Not RESOURCE_EXHAUSTED, which clients take for "later": it will be as long then.
    413: StatusCode.INVALID_ARGUMENT,
    415: StatusCode.INVALID_ARGUMENT,
    422: StatusCode.FAILED_PRECONDITION,
    429: StatusCode.RESOURCE_EXHAUSTED,
    431: StatusCode.INVALID_ARGUMENT,
    499: StatusCode.CANCELLED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
"""By the HTTP status of an error."""

MAX_DETAILS_CHARACTERS = 1000
"""Details travel percent-encoded in a trailer, and HTTP/2 peers refuse trailers beyond 8 kB."""
RETRY_PUSHBACK = "grpc-retry-pushback-ms"
"""What Retry-After is to HTTP: gRPC clients with a retry policy honour it."""

Metadata = Iterable[tuple[str, Any]]
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Context(Protocol):
    """What is used of `ray.serve.grpc_util.RayServegRPCContext`."""

    def invocation_metadata(self) -> Metadata:
        """What the client sent beside the message."""
        ...

    def trailing_metadata(self) -> Metadata:
        """What goes out after it; has Ray Serve's `request_id`."""
        ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        """Replace it, but for the request id."""
        ...

    def set_code(self, code: StatusCode) -> None:
        """Set the status."""
        ...

    def set_details(self, details: str) -> None:
        """Set the status's message."""
        ...


class GrpcExchange:
    """One ModelInfer."""

    def __init__(
        self,
        codec: ProtobufCodec,
        limits: LimitsConfig,
        request: messages.ModelInferRequest,
        metadata: Metadata,
        version: str | None,
    ) -> None:
        self.pin = version
        self.terms = ANYBODY
        self.response = messages.ModelInferResponse()
        self._codec = codec
        self._limits = limits
        self._request = request
        self._metadata = metadata
        self.started = time.perf_counter()

    async def read(self) -> Decoded:
        """See `Exchange.read`."""
        size, limit = self._request.ByteSize(), self._limits.max_body_bytes
        if size > limit:
            raise BodyTooLargeError(f"body: expected at most {limit} bytes, given {size}")
        metadata = dict(self._metadata)
        if self.pin is None:
            self.pin = metadata.get(PIN) or parameter(self._request, PIN)
        decoded = self._codec.decode(self._request, metadata.get(KEY))
        headers = {
            name.encode(): value.encode("latin-1", "replace")
            for name, value in metadata.items()
            if isinstance(value, str)
        }
        self.terms = read_terms(headers, None, decoded.timeout_seconds, self.started)
        return decoded

    def encode(
        self, decoded: Decoded, answer: Answer, parameters: Parameters
    ) -> messages.ModelInferResponse:
        """See `Exchange.encode`."""
        return self._codec.encode(
            answer.computed.outputs, decoded.outputs, answer.variant, parameters, self._request
        )

    async def send(
        self, encoded: messages.ModelInferResponse, answer: Answer, table: RoutingTable
    ) -> None:
        """See `Exchange.send`: Ray Serve sends what the method returns."""
        self.response = encoded


class GrpcDoor:
    """The six calls, for one model."""

    def __init__(
        self,
        document: ModelDocument,
        manifests: Mapping[str, Manifest],
        limits: LimitsConfig,
        predictor: Predictor,
        inference: Inference,
        metrics: GatewayMetrics,
    ) -> None:
        self._document = document
        self._manifests = manifests
        self._limits = limits
        self._predictor = predictor
        self._inference = inference
        self._metrics = metrics
        self._codec = ProtobufCodec(document, limits.max_rows)
        self._version = importlib.metadata.version("slimserve")

    async def call(
        self,
        method: Callable[[_Request, Context], Awaitable[_Response]],
        request: _Request,
        context: Context,
        empty: Callable[[], _Response],
    ) -> _Response:
        """Await a method; if it raises, put the status on the context and return `empty()`."""
        try:
            return await method(request, context)
        except SlimserveError as error:
            if isinstance(error, RequestError):
                self._metrics.rejections[error.reason].inc()
            if isinstance(error, QueueFullError):
                milliseconds = str(1000 * error.retry_after_seconds)
                context.set_trailing_metadata([(RETRY_PUSHBACK, milliseconds)])
            _refuse(context, status_of(error), str(error))
        except Exception:  # noqa: BLE001
            # The process boundary: the log gets the trace, the client an id to ask about.
            request_id = dict(context.trailing_metadata()).get("request_id", "none")
            _log.exception("request %s failed", request_id)
            _refuse(context, StatusCode.INTERNAL, f"internal error, request id {request_id}")
        return empty()

    async def server_live(
        self, request: messages.ServerLiveRequest, context: Context
    ) -> messages.ServerLiveResponse:
        """ServerLive: yes."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(
        self, request: messages.ServerReadyRequest, context: Context
    ) -> messages.ServerReadyResponse:
        """ServerReady: whether there is a routing table and the champion answers."""
        return messages.ServerReadyResponse(ready=await self._predictor.ready())

    async def model_ready(
        self, request: messages.ModelReadyRequest, context: Context
    ) -> messages.ModelReadyResponse:
        """ModelReady: whether the variant, by default the champion, answers."""
        variant = self._variant(request.name, request.version) or self._predictor.champion
        return messages.ModelReadyResponse(ready=await self._predictor.backends[variant].ready())

    async def server_metadata(
        self, request: messages.ServerMetadataRequest, context: Context
    ) -> messages.ServerMetadataResponse:
        """ServerMetadata."""
        return messages.ServerMetadataResponse(name="slimserve", version=self._version)

    async def model_metadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> messages.ModelMetadataResponse:
        """ModelMetadata: versions are variants."""
        variant = self._variant(request.name, request.version)
        manifest = self._manifests[variant or self._predictor.champion]
        return messages.ModelMetadataResponse(
            name=self._document.name,
            versions=[variant] if variant else list(self._manifests),
            platform=PLATFORMS[manifest.runtime.engine],
            inputs=[_tensor(spec) for spec in self._document.inputs],
            outputs=[_tensor(spec) for spec in self._document.outputs],
        )

    async def model_infer(
        self, request: messages.ModelInferRequest, context: Context
    ) -> messages.ModelInferResponse:
        """ModelInfer."""
        version = self._variant(request.model_name, request.model_version)
        exchange = GrpcExchange(
            self._codec, self._limits, request, context.invocation_metadata(), version
        )
        await self._inference.answer(exchange)
        return exchange.response

    def _variant(self, model: str, version: str) -> str | None:
        """The variant that a version names; None where the request names none.

        Raises:
            UnknownModelError, UnknownVariantError: not served.
        """
        if model != self._document.name:
            raise UnknownModelError(
                f"model {model!r} is not served, expected {self._document.name!r}"
            )
        if version and version not in self._manifests:
            raise UnknownVariantError(
                f"version {version!r} of {model!r} is not served, expected one of "
                f"{', '.join(self._manifests)}"
            )
        return version or None


class GrpcMethods:
    """The service's methods, as Ray Serve finds them on the deployment: `_door` must be set."""

    _door: GrpcDoor

    async def ServerLive(
        self, request: messages.ServerLiveRequest, grpc_context: Context
    ) -> messages.ServerLiveResponse:
        """See `GrpcDoor.server_live`."""
        door = self._door
        return await door.call(door.server_live, request, grpc_context, messages.ServerLiveResponse)

    async def ServerReady(
        self, request: messages.ServerReadyRequest, grpc_context: Context
    ) -> messages.ServerReadyResponse:
        """See `GrpcDoor.server_ready`."""
        door = self._door
        return await door.call(
            door.server_ready, request, grpc_context, messages.ServerReadyResponse
        )

    async def ModelReady(
        self, request: messages.ModelReadyRequest, grpc_context: Context
    ) -> messages.ModelReadyResponse:
        """See `GrpcDoor.model_ready`."""
        door = self._door
        return await door.call(door.model_ready, request, grpc_context, messages.ModelReadyResponse)

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, grpc_context: Context
    ) -> messages.ServerMetadataResponse:
        """See `GrpcDoor.server_metadata`."""
        door = self._door
        return await door.call(
            door.server_metadata, request, grpc_context, messages.ServerMetadataResponse
        )

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, grpc_context: Context
    ) -> messages.ModelMetadataResponse:
        """See `GrpcDoor.model_metadata`."""
        door = self._door
        return await door.call(
            door.model_metadata, request, grpc_context, messages.ModelMetadataResponse
        )

    async def ModelInfer(
        self, request: messages.ModelInferRequest, grpc_context: Context
    ) -> messages.ModelInferResponse:
        """See `GrpcDoor.model_infer`."""
        door = self._door
        return await door.call(door.model_infer, request, grpc_context, messages.ModelInferResponse)


def status_of(error: SlimserveError) -> StatusCode:
    """The gRPC status of an error of ours."""
    if isinstance(error, RequestError | ControlError | ServingError):
        return CODES.get(error.status, StatusCode.UNKNOWN)
    return StatusCode.INTERNAL


def _refuse(context: Context, code: StatusCode, message: str) -> None:
    context.set_code(code)
    cut = message if len(message) <= MAX_DETAILS_CHARACTERS else message[:999] + "…"
    context.set_details(cut)


def _tensor(spec: TensorSpec) -> messages.ModelMetadataResponse.TensorMetadata:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
