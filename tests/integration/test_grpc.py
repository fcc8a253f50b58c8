from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from tests.integration.server import MAX_BODY_BYTES, MAX_ROWS, Server, eventually
from tests.support.store import CHAMPION, MARKER, MODEL, Inputs, make_samples, request_body, scores

VARIANTS = [
    "original",
    "close",
    "opposite",
    "poor",
    "fragile",
    "slow",
    "program",
    "heavy",
    "heavy-apart",
    "elastic",
]


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    made = triton.InferenceServerClient(f"localhost:{server.grpc_port}")
    yield made
    made.close()


def rows_of(count: int) -> Inputs:
    return make_samples().rows(0, count)


def tensors(arrays: Inputs, datatype: str = "FP32") -> list[triton.InferInput]:
    made = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def typed(arrays: Inputs, version: str = "") -> service_pb2.ModelInferRequest:
    """A request with fp32_contents, which tritonclient's own inputs never have."""
    request = service_pb2.ModelInferRequest(model_name=MODEL, model_version=version)
    for name, array in arrays.items():
        tensor = request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return request


def refused(client: triton.InferenceServerClient, **call: Any) -> tuple[str, str]:
    """Status and message of a call that must not succeed."""
    with pytest.raises(triton.InferenceServerException) as raised:
        client.infer(**{"model_name": MODEL, "inputs": tensors(rows_of(1)), **call})
    return raised.value.status().removeprefix("StatusCode."), raised.value.message()


def test_tritons_client_works_unchanged(
    server: Server, client: triton.InferenceServerClient
) -> None:
    server.route()
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "program")
    assert client.get_server_metadata().name == "slimserve"
    metadata = client.get_model_metadata(MODEL)
    assert list(metadata.versions) == VARIANTS
    assert [list(tensor.shape) for tensor in metadata.inputs] == [[-1, 4], [-1, 3, 2]]
    result = client.infer(
        MODEL, tensors(rows_of(5)), request_id="r1", outputs=[triton.InferRequestedOutput("score")]
    )
    np.testing.assert_allclose(result.as_numpy("score"), scores(rows_of(5)), atol=1e-6)
    assert result.get_response().id == "r1"


@pytest.mark.parametrize("rows", [1, 2, 17, 64])
def test_both_protocols_answer_the_same(
    server: Server, client: triton.InferenceServerClient, rows: int
) -> None:
    for variant in ("close", "program"):
        body = request_body(rows)
        over_http = server.infer(body, variant).json()["outputs"][0]["data"]
        raw = client.infer(MODEL, tensors(rows_of(rows)), model_version=variant)
        assert raw.as_numpy("score").tolist() == np.float32(over_http).tolist()
        answer = client._client_stub.ModelInfer(typed(rows_of(rows), variant))
        assert not answer.raw_output_contents
        [output] = answer.outputs
        assert list(output.shape) == [rows]
        assert list(output.contents.fp32_contents) == raw.as_numpy("score").tolist()


def test_pins_and_keys(server: Server, client: triton.InferenceServerClient) -> None:
    version = server.route({CHAMPION: 0.5, "close": 0.5})
    pinned = client.infer(MODEL, tensors(rows_of(1)), headers={"x-slimserve-variant": "poor"})
    parameters = pinned.get_response().parameters
    assert parameters["why"].string_param == "pin"
    assert parameters["variant"].string_param == "poor"
    assert parameters["table_version"].int64_param == version
    for number in range(8):
        over_http = server.infer(request_body(customer_id=f"c{number}")).variant
        over_grpc = client.infer(
            MODEL, tensors(rows_of(1)), parameters={"customer_id": f"c{number}"}
        )
        assert over_grpc.get_response().model_version == over_http
        assert over_grpc.get_response().parameters["why"].string_param == "weight"


def test_requests_of_both_protocols_are_counted_together(
    server: Server, client: triton.InferenceServerClient
) -> None:
    def counted() -> list[float]:
        return [
            server.total("requests_total", variant="close", outcome="ok"),
            server.total("rows_total", variant="close"),
            server.total("assignments_total", variant="close", why="pin"),
            server.total("request_seconds_count", variant="close"),
            server.total("rejections_total", reason="unknown_variant"),
        ]

    before = counted()
    server.infer(request_body(2), "close")
    for _ in range(3):
        client.infer(MODEL, tensors(rows_of(2)), model_version="close")
    refused(client, model_version="nobody")
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [4, 8, 4, 4, 1]


@pytest.mark.parametrize(
    ("call", "status", "message"),
    [
        ({"model_name": "other"}, "NOT_FOUND", "model 'other' is not served, expected 'fraud'"),
        ({"model_version": "nobody"}, "NOT_FOUND", "version 'nobody' of 'fraud' is not served"),
        ({"headers": {"x-slimserve-variant": "nobody"}}, "NOT_FOUND", "'nobody' is not served"),
        ({"inputs": tensors(rows_of(1))[:1]}, "INVALID_ARGUMENT", "input 'history': missing"),
        ({"inputs": tensors(rows_of(1)) * 2}, "INVALID_ARGUMENT", "given twice"),
        ({"inputs": tensors({"amount": np.zeros((1, 4), np.float32)})}, "INVALID_ARGUMENT",
         "input 'amount': unknown, expected transaction, history"),
        ({"inputs": tensors({"transaction": np.zeros((1, 5), np.float32)})}, "INVALID_ARGUMENT",
         "shape: expected [-1, 4] (-1: any), given [1, 5]"),
        ({"inputs": tensors({"transaction": np.zeros((1, 4), np.int8)}, "INT8")},
         "INVALID_ARGUMENT", "datatype: expected FP32, given INT8"),
        ({"inputs": tensors({"transaction": np.full((1, 4), np.nan, np.float32)})},
         "INVALID_ARGUMENT", "data: expected finite FP32 values"),
        ({"inputs": tensors(dict(make_samples(MAX_ROWS + 1).inputs))}, "INVALID_ARGUMENT",
         f"{MAX_ROWS + 1} rows given"),
        ({"inputs": tensors(dict(make_samples(MAX_BODY_BYTES // 40 + 1).inputs))},
         "INVALID_ARGUMENT", f"body: expected at most {MAX_BODY_BYTES} bytes"),
        ({"outputs": [triton.InferRequestedOutput("logit")]}, "INVALID_ARGUMENT",
         "output 'logit': unknown, expected score"),
        ({"outputs": [triton.InferRequestedOutput("score", class_count=1)]}, "UNIMPLEMENTED",
         "classification is not offered"),
    ],
)  # fmt: skip
def test_bad_requests_get_the_right_status_and_a_message(
    client: triton.InferenceServerClient, call: dict[str, Any], status: str, message: str
) -> None:
    given, text = refused(client, **call)
    assert given == status
    assert message in text


def test_the_champion_answers_for_a_variant_that_fails(
    client: triton.InferenceServerClient,
) -> None:
    arrays = {name: array.copy() for name, array in rows_of(1).items()}
    arrays["transaction"][0, 0] = MARKER
    answer = client.infer(MODEL, tensors(arrays), model_version="fragile").get_response()
    assert answer.model_version == CHAMPION
    assert answer.parameters["why"].string_param == "fallback"
    assert answer.parameters["failed_variant"].string_param == "fragile"


def test_a_burst_on_a_full_queue_is_shed(
    server: Server, client: triton.InferenceServerClient
) -> None:
    before = server.total("requests_total", variant="slow", outcome="shed")

    def outcome(_: int) -> tuple[str, str]:
        try:
            client.infer(MODEL, tensors(rows_of(1)), model_version="slow")
        except triton.InferenceServerException as error:
            return str(error.status()), error.message()
        return "ok", ""

    with ThreadPoolExecutor(32) as pool:
        outcomes = Counter(pool.map(outcome, range(64)))
    shed = "variant 'slow' has 2 rows waiting, at most 2 may: try again in 1 s"
    assert set(outcomes) == {("ok", ""), ("StatusCode.RESOURCE_EXHAUSTED", shed)}
    after = server.total("requests_total", variant="slow", outcome="shed")
    assert after == before + outcomes["StatusCode.RESOURCE_EXHAUSTED", shed]


def test_a_caller_whose_deadline_passes_is_told_and_counted(
    server: Server, client: triton.InferenceServerClient
) -> None:
    before = server.total("requests_total", variant="slow", outcome="cancelled")

    def counted() -> bool:
        """Asks again: on a busy machine the deadline may pass on the way."""
        status, _ = refused(client, model_version="slow", client_timeout=0.005)
        assert status == "DEADLINE_EXCEEDED"
        return server.total("requests_total", variant="slow", outcome="cancelled") > before

    eventually(counted)
    eventually(lambda: server.total("in_flight") == 0)
