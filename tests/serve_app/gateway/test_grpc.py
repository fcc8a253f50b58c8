from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from serve_app import errors
from serve_app.config import LimitsConfig
from serve_app.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    QueueFullError,
    SlimserveError,
    StartError,
    VariantFailedError,
)
from serve_app.gateway.grpc import (
    CODES,
    MAX_DETAILS_CHARACTERS,
    GrpcDoor,
    GrpcMethods,
    Metadata,
    status_of,
)
from serve_app.gateway.inference import Inference
from serve_app.protocol.inference import messages_pb2 as messages
from tests.serve_app.gateway.fakes import VARIANTS, Gateway
from tests.support.grpc import infer_request
from tests.support.store import CHAMPION, make_document, make_manifest


class Context:
    """Remembers what is set on it."""

    def __init__(self, **metadata: str) -> None:
        self.sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        self.trailing: list[tuple[str, str]] = [("request_id", "id-1")]
        self.code: StatusCode | None = None
        self.details = ""

    def invocation_metadata(self) -> Metadata:
        return self.sent

    def trailing_metadata(self) -> Metadata:
        return self.trailing

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        self.trailing = self.trailing[:1] + trailing_metadata

    def set_code(self, code: StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


class Door(GrpcMethods):
    """The service's methods over a gateway of fakes."""

    def __init__(self) -> None:
        self.gateway = gateway = Gateway()
        gateway.route({CHAMPION: 1.0})
        self._door = GrpcDoor(
            make_document(),
            {name: make_manifest(name, b"", []) for name in VARIANTS},
            LimitsConfig(max_rows=8, max_body_bytes=4096),
            gateway.predictor,
            Inference(gateway.predictor, gateway.shadows, gateway.metrics),
            gateway.metrics,
        )


@pytest.fixture
def door() -> Door:
    return Door()


async def refused(door: Door, request: Any, **metadata: str) -> Context:
    """Infer, and see that it is refused with an empty message."""
    context = Context(**metadata)
    response = await door.ModelInfer(request, context)
    assert response == messages.ModelInferResponse()
    assert context.code is not None
    return context


async def test_an_answer_says_who_made_it_and_why(door: Door) -> None:
    context = Context(x_slimserve_routing_key="c1")
    answer = await door.ModelInfer(infer_request(2, id="r1"), context)
    assert context.code is None
    assert (answer.model_name, answer.model_version, answer.id) == ("fraud", CHAMPION, "r1")
    scores = np.frombuffer(answer.raw_output_contents[0], np.float32)
    np.testing.assert_allclose(scores, [0.4, 0.4])
    assert {name: answer.parameters[name].string_param for name in ("variant", "why")} == {
        "variant": CHAMPION, "why": "weight",
    }  # fmt: skip
    assert answer.parameters["experiment"].string_param == "default"
    assert answer.parameters["table_version"].int64_param == 1


async def test_requests_are_counted_once_and_as_over_http(door: Door) -> None:
    gateway = door.gateway
    await door.ModelInfer(infer_request(2), Context())
    assert gateway.value("requests_total", variant=CHAMPION, outcome="ok") == 1
    assert gateway.value("assignments_total", variant=CHAMPION, why="random") == 1
    assert gateway.value("rows_total", variant=CHAMPION) == 2
    assert gateway.value("request_seconds_count", variant=CHAMPION) == 1
    assert gateway.value("in_flight") == 0
    for phase in ("decode", "queue", "infer", "encode"):
        assert gateway.value("phase_seconds_count", variant=CHAMPION, phase=phase) == 1


async def test_statistics_count_what_came_by_grpc(door: Door) -> None:
    await door.ModelInfer(infer_request(2, version="close"), Context())
    door.gateway.backends["close"].error = VariantFailedError("variant 'close' failed")
    await door.ModelInfer(infer_request(version="close"), Context())
    door.gateway.backends["poor"].error = QueueFullError("full")
    await refused(door, infer_request(version="poor"))
    statistics = door.gateway.metrics.statistics
    assert {name: (statistics[name].answered, statistics[name].failed) for name in VARIANTS} == {
        CHAMPION: (1, 0), "close": (1, 1), "poor": (0, 1),
    }  # fmt: skip
    assert statistics["close"].answered_seconds >= statistics["close"].encode_seconds > 0


async def test_pins_by_version_metadata_and_parameter(door: Door) -> None:
    by_parameter = infer_request()
    by_parameter.parameters["x-slimserve-variant"].string_param = "close"
    calls = [
        (infer_request(version="poor"), Context(), "poor"),
        (infer_request(), Context(x_slimserve_variant="close"), "close"),
        (by_parameter, Context(), "close"),
        (infer_request(version="poor"), Context(x_slimserve_variant="close"), "poor"),
    ]
    for request, context, variant in calls:
        answer = await door.ModelInfer(request, context)
        assert answer.model_version == variant
        assert answer.parameters["why"].string_param == "pin"


async def test_a_key_stays_with_its_variant_by_parameter_and_metadata(door: Door) -> None:
    door.gateway.route({CHAMPION: 0.5, "close": 0.5})
    seen = set()
    for number in range(20):
        by_parameter = infer_request()
        by_parameter.parameters["customer_id"].string_param = f"c{number}"
        one = await door.ModelInfer(by_parameter, Context())
        other = await door.ModelInfer(
            infer_request(), Context(x_slimserve_routing_key=f"c{number}")
        )
        assert one.model_version == other.model_version
        assert one.parameters["why"].string_param == "weight"
        seen.add(one.model_version)
    assert seen == {CHAMPION, "close"}


async def test_the_champion_answers_for_a_variant_that_fails(door: Door) -> None:
    door.gateway.backends["close"].error = VariantFailedError("variant 'close' failed")
    answer = await door.ModelInfer(infer_request(version="close"), Context())
    assert answer.model_version == CHAMPION
    assert answer.parameters["why"].string_param == "fallback"
    assert answer.parameters["failed_variant"].string_param == "close"
    assert door.gateway.value("requests_total", variant=CHAMPION, outcome="fallback") == 1


async def test_a_shadow_sees_what_came_by_grpc(door: Door) -> None:
    gateway = door.gateway
    gateway.shadows.start()
    gateway.route({CHAMPION: 1.0}, shadow={"variant": "close", "sample_rate": 1.0})
    await door.ModelInfer(infer_request(3), Context())
    await gateway.shadows.drained()
    await gateway.shadows.close()
    assert gateway.value("shadow_rows_total", variant="close") == 3


@pytest.mark.parametrize(
    ("request_", "metadata", "code", "message", "reason"),
    [
        (infer_request(9), {}, StatusCode.INVALID_ARGUMENT, "9 rows given", "too_many_rows"),
        (infer_request(200), {}, StatusCode.INVALID_ARGUMENT, "at most 4096", "body_too_large"),
        (messages.ModelInferRequest(model_name="fraud"), {}, StatusCode.INVALID_ARGUMENT,
         "input 'transaction': missing", "invalid_input"),
        (messages.ModelInferRequest(model_name="x"), {}, StatusCode.NOT_FOUND,
         "model 'x' is not served, expected 'fraud'", "unknown_model"),
        (infer_request(version="x"), {}, StatusCode.NOT_FOUND,
         "version 'x' of 'fraud' is not served, expected one of original", "unknown_variant"),
        (infer_request(), {"x_slimserve_variant": "x"}, StatusCode.NOT_FOUND,
         "variant 'x' is not served", "unknown_variant"),
    ],
)  # fmt: skip
async def test_bad_requests_are_refused_with_a_status_and_a_message(
    door: Door,
    request_: Any,
    metadata: dict[str, str],
    code: StatusCode,
    message: str,
    reason: str,
) -> None:
    context = await refused(door, request_, **metadata)
    assert context.code == code
    assert message in context.details
    assert door.gateway.value("rejections_total", reason=reason) == 1


async def test_a_full_queue_is_resource_exhausted_and_says_when_to_come_back(door: Door) -> None:
    door.gateway.backends["close"].error = QueueFullError("variant 'close' has 2 rows waiting", 3)
    context = await refused(door, infer_request(version="close"))
    assert context.code == StatusCode.RESOURCE_EXHAUSTED
    assert context.trailing == [("request_id", "id-1"), ("grpc-retry-pushback-ms", "3000")]
    assert door.gateway.value("rejections_total", reason="queue_full") == 1
    assert door.gateway.value("requests_total", variant="close", outcome="shed") == 1


async def test_the_terms_come_from_metadata_and_parameters(door: Door) -> None:
    request = infer_request()
    request.parameters["timeout_seconds"].double_param = 20.0
    before = time.perf_counter()
    await door.ModelInfer(request, Context(x_slimserve_caller="a", x_request_timeout_seconds="30"))
    caller, deadline = door.gateway.backends[CHAMPION].terms
    assert caller == "a"
    assert before + 20 <= deadline <= time.perf_counter() + 20
    context = await refused(door, infer_request(), x_request_timeout_seconds="0")
    assert context.code == StatusCode.INVALID_ARGUMENT
    assert "expected seconds above 0, given '0'" in context.details


async def test_a_deadline_that_passed_is_said_and_counted(door: Door) -> None:
    door.gateway.backends[CHAMPION].error = DeadlineExceededError("late")
    context = await refused(door, infer_request())
    assert (context.code, context.details) == (StatusCode.DEADLINE_EXCEEDED, "late")
    assert door.gateway.value("requests_total", variant=CHAMPION, outcome="deadline") == 1
    assert door.gateway.value("rejections_total", reason="deadline") == 1


async def test_a_champion_that_is_away_is_unavailable(door: Door) -> None:
    door.gateway.backends[CHAMPION].error = BackendUnavailableError("away")
    context = await refused(door, infer_request())
    assert (context.code, context.details) == (StatusCode.UNAVAILABLE, "away")
    assert door.gateway.value("requests_total", variant=CHAMPION, outcome="error") == 1


async def test_an_error_nobody_expected_is_logged_and_not_shown(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.gateway.backends[CHAMPION].error = RuntimeError("secret")
    with caplog.at_level(logging.ERROR, "serve_app"):
        context = await refused(door, infer_request())
    assert context.code == StatusCode.INTERNAL
    assert context.details == "internal error, request id id-1"
    assert "secret" in caplog.text


async def test_details_fit_into_a_trailer(door: Door) -> None:
    context = await refused(door, infer_request(version="x" * 5000))
    assert len(context.details) == MAX_DETAILS_CHARACTERS


async def test_a_caller_that_goes_away_is_counted_as_cancelled(door: Door) -> None:
    door.gateway.backends[CHAMPION].gate = asyncio.Event()
    call = asyncio.ensure_future(door.ModelInfer(infer_request(), Context()))
    while not door.gateway.backends[CHAMPION].calls:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert door.gateway.value("requests_total", variant=CHAMPION, outcome="cancelled") == 1
    assert door.gateway.value("in_flight") == 0


async def test_health_and_metadata(door: Door) -> None:
    context = Context()
    assert (await door.ServerLive(messages.ServerLiveRequest(), context)).live
    assert (await door.ServerReady(messages.ServerReadyRequest(), context)).ready
    server = await door.ServerMetadata(messages.ServerMetadataRequest(), context)
    assert (server.name, list(server.extensions)) == ("slimserve", [])
    model = await door.ModelMetadata(messages.ModelMetadataRequest(name="fraud"), context)
    assert (model.name, list(model.versions)) == ("fraud", list(VARIANTS))
    assert model.platform == "onnxruntime_onnx"
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in model.inputs] == [
        ("transaction", "FP32", [-1, 4]), ("history", "FP32", [-1, 3, 2]),
    ]  # fmt: skip
    assert [tensor.name for tensor in model.outputs] == ["score"]
    pinned = messages.ModelMetadataRequest(name="fraud", version="close")
    assert list((await door.ModelMetadata(pinned, context)).versions) == ["close"]
    assert context.code is None


async def test_readiness_is_told_apart_by_variant(door: Door) -> None:
    door.gateway.backends["close"].is_ready = False
    close = messages.ModelReadyRequest(name="fraud", version="close")
    assert not (await door.ModelReady(close, Context())).ready
    assert (await door.ModelReady(messages.ModelReadyRequest(name="fraud"), Context())).ready
    door.gateway.backends[CHAMPION].is_ready = False
    assert not (await door.ServerReady(messages.ServerReadyRequest(), Context())).ready


async def test_unknown_names_are_not_found(door: Door) -> None:
    context = Context()
    answer = await door.ModelReady(messages.ModelReadyRequest(name="x"), context)
    assert (answer.ready, context.code) == (False, StatusCode.NOT_FOUND)
    context = Context()
    await door.ModelMetadata(messages.ModelMetadataRequest(name="fraud", version="x"), context)
    assert context.code == StatusCode.NOT_FOUND


def leaves(base: type[SlimserveError]) -> list[type[SlimserveError]]:
    """All errors below `base`."""
    return [error for child in base.__subclasses__() for error in [child, *leaves(child)]]


def test_every_error_a_client_may_get_has_a_status() -> None:
    for error in leaves(errors.SlimserveError):
        if not issubclass(error, StartError):
            assert error.status in CODES, error  # type: ignore[attr-defined]
    assert status_of(QueueFullError("")) == StatusCode.RESOURCE_EXHAUSTED
    assert status_of(SlimserveError("")) == StatusCode.INTERNAL
