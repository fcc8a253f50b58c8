from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compression.store import ModelDocument, TensorSpec
from serve_app.errors import InvalidInputError, TooManyRowsError, UnsupportedError
from serve_app.protocol.inference.messages_pb2 import ModelInferRequest
from serve_app.protocol.protobuf import ProtobufCodec, parameter
from tests.support.grpc import infer_request
from tests.support.store import make_document, make_samples


@pytest.fixture
def codec() -> ProtobufCodec:
    return ProtobufCodec(make_document(), max_rows=4)


@pytest.mark.parametrize("raw", [True, False])
def test_a_request_becomes_arrays(codec: ProtobufCodec, raw: bool) -> None:
    decoded = codec.decode(infer_request(3, raw=raw, id="r1"), key="k")
    assert (decoded.rows, decoded.id, decoded.key) == (3, "r1", "k")
    assert tuple(decoded.outputs) == ("score",)
    for name, array in make_samples().rows(0, 3).items():
        np.testing.assert_array_equal(decoded.inputs[name], array)


def test_what_is_not_said_is_none(codec: ProtobufCodec) -> None:
    decoded = codec.decode(infer_request())
    assert (decoded.id, decoded.key) == (None, None)


@pytest.mark.parametrize(
    ("choice", "value", "key"),
    [
        ("string_param", "c7", "c7"), ("int64_param", 7, "7"), ("uint64_param", 7, "7"),
        ("double_param", 0.5, "0.5"), ("bool_param", True, "True"),
    ],
)  # fmt: skip
def test_the_routing_key_is_a_parameter(
    codec: ProtobufCodec, choice: str, value: Any, key: str
) -> None:
    request = infer_request()
    setattr(request.parameters["customer_id"], choice, value)
    assert codec.decode(request, key="of the metadata").key == key


def test_looking_for_a_parameter_leaves_the_request_as_it_is() -> None:
    request = ModelInferRequest()
    assert parameter(request, "a") is None
    assert not request.parameters
    request.parameters["a"].SetInParent()
    assert parameter(request, "a") is None


def test_more_rows_than_allowed(codec: ProtobufCodec) -> None:
    with pytest.raises(TooManyRowsError, match="5 rows given, at most 4"):
        codec.decode(infer_request(5))


def test_outputs_are_those_asked_for(codec: ProtobufCodec) -> None:
    request = infer_request()
    request.outputs.add(name="logit")
    with pytest.raises(InvalidInputError, match="output 'logit': unknown, expected score"):
        codec.decode(request)


@pytest.mark.parametrize("name", ["classification", "shared_memory_region"])
def test_what_is_not_offered_is_refused(codec: ProtobufCodec, name: str) -> None:
    request = infer_request()
    request.outputs.add(name="score").parameters[name].int64_param = 1
    with pytest.raises(UnsupportedError, match=f"output 'score': {name} is not offered"):
        codec.decode(request)


@pytest.mark.parametrize("raw", [True, False])
def test_an_answer_has_the_form_of_its_request(codec: ProtobufCodec, raw: bool) -> None:
    scores = np.array([0.25, 0.5], np.float32)
    request = infer_request(2, raw=raw, id="r1")
    parameters: dict[str, str | int] = {"why": "pin", "table_version": 3}
    answer = codec.encode({"score": scores}, ["score"], "close", parameters, request)
    assert (answer.model_name, answer.model_version, answer.id) == ("fraud", "close", "r1")
    assert answer.parameters["why"].string_param == "pin"
    assert answer.parameters["table_version"].int64_param == 3
    [output] = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("score", "FP32", [2])
    assert list(answer.raw_output_contents) == ([scores.tobytes()] if raw else [])
    assert list(output.contents.fp32_contents) == ([] if raw else [0.25, 0.5])


def test_an_answer_in_fp16_is_raw_as_a_whole() -> None:
    outputs = (
        TensorSpec(name="score", datatype="FP32", shape=(-1,)),
        TensorSpec(name="half", datatype="FP16", shape=(-1, 2)),
    )
    document: ModelDocument = make_document().model_copy(update={"outputs": outputs})
    arrays: dict[str, npt.NDArray[Any]] = {
        "score": np.zeros(1, np.float32),
        "half": np.ones((1, 2), np.float16),
    }
    answer = ProtobufCodec(document, 4).encode(
        arrays, ["half", "score"], "close", {}, infer_request(raw=False)
    )
    assert [list(output.shape) for output in answer.outputs] == [[1, 2], [1]]
    assert list(answer.raw_output_contents) == [arrays["half"].tobytes(), arrays["score"].tobytes()]
    assert not any(output.HasField("contents") for output in answer.outputs)
