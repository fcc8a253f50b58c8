from __future__ import annotations

import http.client
import json
import math
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.integration.server import INFER, MAX_BODY_BYTES, Server
from tests.support.store import MODEL, make_samples, request_body, scores

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


def triton_inputs(rows: int) -> list[triton.InferInput]:
    inputs = []
    for name, array in make_samples().rows(0, rows).items():
        tensor = triton.InferInput(name, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array, binary_data=False)
        inputs.append(tensor)
    return inputs


def test_tritons_client_works_unchanged(door: Server) -> None:
    door.route()
    client = triton.InferenceServerClient(f"localhost:{door.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "close")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata(MODEL)["versions"] == VARIANTS
    result = client.infer(
        MODEL,
        triton_inputs(5),
        outputs=[triton.InferRequestedOutput("score", binary_data=False)],
        request_id="r1",
    )
    expected = scores(make_samples().rows(0, 5))
    np.testing.assert_allclose(result.as_numpy("score"), expected, atol=1e-6)
    assert result.get_response()["id"] == "r1"
    client.close()


def test_tritons_client_pins_and_gets_errors(door: Server) -> None:
    client = triton.InferenceServerClient(f"localhost:{door.port}")
    outputs = [triton.InferRequestedOutput("score", binary_data=False)]
    for variant in VARIANTS:
        answer = client.infer(MODEL, triton_inputs(2), model_version=variant, outputs=outputs)
        assert answer.get_response()["model_version"] == variant
    with pytest.raises(triton.InferenceServerException, match="version 'x' of 'fraud'"):
        client.infer(MODEL, triton_inputs(1), model_version="x", outputs=outputs)
    client.close()


def test_a_header_pins(door: Server) -> None:
    answer = door.request("POST", INFER, request_body(), {"x-slimserve-variant": "program"})
    assert answer.variant == "program"
    assert answer.parameters["why"] == "pin"
    assert answer.headers["x-slimserve-variant"] == "program"


def changed(**changes: Any) -> dict[str, Any]:
    body = request_body()
    body["inputs"][0] |= changes
    return body


ONES = [
    {
        "name": name,
        "shape": [1025, *shape],
        "datatype": "FP32",
        "data": [1] * 1025 * math.prod(shape),
    }
    for name, shape in (("transaction", [4]), ("history", [3, 2]))
]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "empty"),
        (b"{not json", 400, "not a request"),
        (changed(name="amount"), 400, "input 'amount': unknown"),
        (changed(shape=[1, 5]), 400, "shape: expected"),
        (changed(datatype="INT8"), 400, "datatype: expected FP32, given INT8"),
        (changed(data=[1.0]), 400, "expected 4 elements"),
        (changed(data=[1e39] * 4), 400, "finite"),
        (changed(shape=[0, 4], data=[]), 400, "at least one row"),
        (json.dumps(changed(data=[float("nan")] * 4)).encode(), 400, "malformed"),
        ({"inputs": request_body()["inputs"][:1]}, 400, "input 'history': missing"),
        ({"inputs": request_body()["inputs"] * 2}, 400, "given twice"),
        ({"inputs": ONES}, 400, "1025 rows given, at most 1024"),
        (b" " * 10_000_000, 413, "expected at most 1048576 bytes, given 10000000"),
    ],
)
def test_bad_requests_get_the_right_status_and_a_message(
    door: Server, body: Any, status: int, message: str
) -> None:
    answer = door.request("POST", INFER, body)
    assert answer.status == status
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", f"/v2/models/{MODEL}/versions/nobody/infer", 404),
        ("GET", INFER, 405),
    ],
)
def test_unknown_paths_and_methods(door: Server, method: str, path: str, status: int) -> None:
    answer = door.request(method, path, b"{}" if method == "POST" else None)
    assert answer.status == status
    assert set(answer.json()) == {"error"}


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(door: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    chunks = (b" " * 8192 for _ in range(200))
    connection.request("POST", INFER, chunks, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 413
    assert str(MAX_BODY_BYTES) in answer.read().decode()
    connection.close()
