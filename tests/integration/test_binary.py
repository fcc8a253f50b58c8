"""Bytes over the wire, with the field's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as triton

from tests.integration.server import INFER, MAX_ROWS, Server, eventually
from tests.support.store import CHAMPION, MODEL, scores

Inputs = dict[str, npt.NDArray[Any]]
FORMS = [(False, False), (True, False), (False, True), (True, True)]
"""Of transaction and history: in bytes or in JSON."""


@pytest.fixture
def client(door: Server) -> Iterator[triton.InferenceServerClient]:
    door.route()
    made = triton.InferenceServerClient(f"localhost:{door.port}")
    yield made
    made.close()


def rows_of(rows: int) -> Inputs:
    generator = np.random.default_rng(rows)
    return {
        "transaction": generator.normal(size=(rows, 4)).astype(np.float32),
        "history": generator.normal(size=(rows, 3, 2)).astype(np.float32),
    }


def ask(
    client: triton.InferenceServerClient,
    inputs: Inputs,
    form: tuple[bool, bool] = (True, True),
    binary: bool | None = None,
    **more: Any,
) -> Any:
    """Infer with inputs in the given forms; `binary` None leaves the outputs to the client."""
    tensors = []
    for (name, array), in_bytes in zip(inputs.items(), form, strict=True):
        tensor = triton.InferInput(name, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array, binary_data=in_bytes)
        tensors.append(tensor)
    outputs = None if binary is None else [triton.InferRequestedOutput("score", binary_data=binary)]
    return client.infer(MODEL, tensors, outputs=outputs, **more)


@pytest.mark.parametrize("rows", [1, 2, 31, 64, 257, MAX_ROWS])
def test_all_forms_are_answered_alike_bit_by_bit(
    client: triton.InferenceServerClient, rows: int
) -> None:
    inputs = rows_of(rows)
    answers = [
        ask(client, inputs, form, binary).as_numpy("score")
        for form in FORMS
        for binary in (False, True, None)
    ]
    np.testing.assert_allclose(answers[0], scores(inputs), atol=1e-6)
    assert {answer.tobytes() for answer in answers} == {answers[0].tobytes()}


@pytest.mark.parametrize("variant", ["close", "program"])
def test_both_placements_take_bytes(client: triton.InferenceServerClient, variant: str) -> None:
    inputs = rows_of(5)
    result = ask(client, inputs, model_version=variant, request_id="r1")
    assert result.get_response()["model_version"] == variant
    assert result.get_response()["id"] == "r1"
    in_json = ask(client, inputs, (False, False), False, model_version=variant)
    assert result.as_numpy("score").tobytes() == in_json.as_numpy("score").tobytes()


def body(**changes: Any) -> tuple[bytes, bytes]:
    """JSON and bytes of one row; `changes` are of the first input."""
    inputs = rows_of(1)
    tensors = [
        {
            "name": name, "shape": list(array.shape), "datatype": "FP32",
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in inputs.items()
    ]  # fmt: skip
    tensors[0] |= changes
    text = json.dumps({"inputs": tensors}).encode()
    return text, b"".join(array.tobytes() for array in inputs.values())


TEXT, BLOB = body()
LENGTH = "Inference-Header-Content-Length"
NAN = np.full(4, np.nan, np.float32).tobytes()


@pytest.mark.parametrize(
    ("content", "length", "message"),
    [
        (TEXT + BLOB[:-1], len(TEXT), "expected at most the 23 bytes"),
        (TEXT + BLOB + b"x", len(TEXT), "the body has 1 bytes more"),
        (TEXT + BLOB, len(TEXT + BLOB) + 1, "the length of the body"),
        (TEXT + BLOB, len(TEXT) - 1, "not a request"),
        (TEXT + BLOB, "ten", "expected a number of bytes"),
        (TEXT + NAN + BLOB[16:], len(TEXT), "finite FP32 values"),
        (body(shape=[10**18, 4])[0] + BLOB, None, "expected 16000000000000000000 bytes"),
        (body(shape=[0, 4])[0] + BLOB, None, "at least one row"),
        (body(datatype="FP64")[0] + BLOB, None, "expected FP32, given FP64"),
        (BLOB, 0, "expected JSON that names transaction, history"),
    ],
)
def test_bad_bytes_get_400_and_a_message(
    door: Server, content: bytes, length: object, message: str
) -> None:
    length = content.index(BLOB) if length is None else length
    answer = door.request("POST", INFER, content, {LENGTH: str(length)})
    assert answer.status == 400
    assert message in answer.json()["error"]


def test_compressed_bodies_are_refused_by_name(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match="content-encoding: expected none"):
        ask(client, rows_of(2), request_compression_algorithm="gzip")


def test_extensions_are_what_the_client_finds(client: triton.InferenceServerClient) -> None:
    extensions = client.get_server_metadata()["extensions"]
    assert extensions == [
        "binary_tensor_data", "model_configuration", "model_repository", "statistics",
    ]  # fmt: skip
    config = client.get_model_config(MODEL, "program")
    assert (config["backend"], config["max_batch_size"]) == ("pytorch", MAX_ROWS)
    index = client.get_model_repository_index()
    assert {one["version"] for one in index if one["state"] == "READY"} >= {CHAMPION, "program"}
    client.load_model(MODEL)
    with pytest.raises(triton.InferenceServerException, match="stays loaded"):
        client.unload_model(MODEL)
    with pytest.raises(triton.InferenceServerException, match="model 'other' is not served"):
        client.load_model("other")


def statistics(client: triton.InferenceServerClient, variant: str) -> Any:
    [one] = client.get_inference_statistics(MODEL, variant)["model_stats"]
    return one


@pytest.mark.parametrize("variant", ["close", "program"])
def test_statistics_count_every_replica_once(
    client: triton.InferenceServerClient, variant: str
) -> None:
    before = statistics(client, variant)
    for rows in (7, 7, 7, 11):
        ask(client, rows_of(rows), model_version=variant)

    def grown(*path: str) -> int:
        found = [statistics(client, variant), before]
        for key in path:
            found = [one[key] for one in found]
        return int(found[0] - found[1])

    eventually(lambda: grown("inference_count") == 32)
    assert grown("execution_count") == 4
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert grown("inference_stats", part, "count") == 4
    assert grown("inference_stats", "compute_infer", "ns") > 0
    assert grown("inference_stats", "success", "ns") > grown(
        "inference_stats", "compute_infer", "ns"
    )
    batches = {
        one["batch_size"]: one["compute_infer"]["count"]
        for one in statistics(client, variant)["batch_stats"]
    }
    assert batches[7] >= 3
    assert batches[11] >= 1
