from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.store import TensorSpec
from serve_app.errors import (
    InvalidInputError,
    MalformedRequestError,
    RequestError,
    TooManyRowsError,
    UnsupportedError,
)
from serve_app.protocol.codec import Codec
from serve_app.protocol.messages import InputTensor
from serve_app.protocol.tensors import InputReader
from tests.support.store import make_document, make_samples, request_body

CODEC = Codec(make_document(), max_rows=8)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("nested", [False, True])
def test_data_may_be_flat_or_nested(rows: int, nested: bool) -> None:
    body = request_body(rows)
    batch = make_samples().rows(0, rows)
    for tensor in body["inputs"]:
        if nested:
            tensor["data"] = batch[tensor["name"]].tolist()
    decoded = CODEC.decode(encoded(body))
    assert decoded.rows == rows
    assert decoded.outputs == ("score",)
    for name, array in batch.items():
        assert decoded.inputs[name].dtype == np.float32
        np.testing.assert_array_equal(decoded.inputs[name], array)


def test_key_id_and_outputs_are_read() -> None:
    body = {**request_body(customer_id=17), "id": "r1", "outputs": [{"name": "score"}]}
    decoded = CODEC.decode(encoded(body), key="header")
    assert (decoded.key, decoded.id, decoded.outputs) == ("17", "r1", ("score",))
    assert CODEC.decode(encoded(request_body()), key="header").key == "header"
    assert CODEC.decode(encoded(request_body())).key is None


def changed(**changes: Any) -> bytes:
    body = request_body(2)
    body["inputs"][0] |= changes
    return encoded(body)


def without(name: str) -> bytes:
    body = request_body()
    del body["inputs"][0][name]
    return encoded(body)


HEAD = {"name": "transaction", "shape": [1, 4], "datatype": "FP32"}

BAD: dict[str, tuple[bytes, type[RequestError], str]] = {
    "empty": (b"", MalformedRequestError, "empty"),
    "not json": (b"{", MalformedRequestError, "truncated"),
    "a list": (b"[]", MalformedRequestError, "Expected `object`"),
    "not utf-8": (b'{"inputs": [], "id": "\xff"}', MalformedRequestError, "UTF-8|utf-8"),
    "no inputs": (b"{}", MalformedRequestError, "inputs"),
    "no name": (without("name"), MalformedRequestError, "name"),
    "inputs empty": (b'{"inputs": []}', InvalidInputError, "'transaction': missing"),
    "nan literal": (
        encoded(request_body()).replace(b'"data": [', b'"data": [NaN, ', 1),
        MalformedRequestError,
        "malformed",
    ),
    "unknown input": (changed(name="amount"), InvalidInputError, "'amount': unknown, expected tra"),
    "twice": (
        changed(name="history", shape=[2, 3, 2], data=[0] * 12),
        InvalidInputError,
        "'history': given twice",
    ),
    "datatype": (
        changed(datatype="FP64"),
        InvalidInputError,
        "datatype: expected FP32, given FP64",
    ),
    "rank": (changed(shape=[8]), InvalidInputError, r"shape: expected \[-1, 4\]"),
    "width": (changed(shape=[2, 5]), InvalidInputError, r"given \[2, 5\]"),
    "negative": (changed(shape=[-1, 4]), InvalidInputError, r"given \[-1, 4\]"),
    "zero rows": (changed(shape=[0, 4], data=[]), InvalidInputError, "at least one row"),
    "too few": (changed(data=[1.0] * 7), InvalidInputError, r"expected 8 elements .* given 7"),
    "too many": (changed(data=[1.0] * 9), InvalidInputError, r"expected 8 elements .* given 9"),
    "no data": (without("data"), InvalidInputError, "data: expected an array, given nothing"),
    "data null": (changed(data=None), InvalidInputError, "flat array"),
    "data number": (changed(data=1.0), InvalidInputError, "flat array"),
    "text": (changed(data=["1.0"] * 8), InvalidInputError, "Expected `float`, got `str`"),
    "bool": (changed(data=[True] * 8), InvalidInputError, "Expected `float`, got `bool`"),
    "null element": (changed(data=[None] * 8), InvalidInputError, "got `null`"),
    "ragged": (changed(data=[[1.0] * 4, [1.0] * 3]), InvalidInputError, "data"),
    "too deep": (changed(data=[[[1.0] * 4] * 2]), InvalidInputError, "flat array"),
    "infinite in fp32": (changed(data=[1e39] * 8), InvalidInputError, "finite FP32"),
    "other rows": (
        changed(shape=[1, 4], data=[1.0] * 4),
        InvalidInputError,
        "same number of rows, given {'transaction': 1, 'history': 2}",
    ),
    "rows": (encoded(request_body(9)), TooManyRowsError, "9 rows given, at most 8"),
    "unknown output": (
        encoded({**request_body(), "outputs": [{"name": "x"}]}),
        InvalidInputError,
        "output 'x': unknown, expected score",
    ),
    "output twice": (
        encoded({**request_body(), "outputs": [{"name": "score"}] * 2}),
        InvalidInputError,
        "output 'score': asked for twice",
    ),
    "shared memory": (
        encoded({"inputs": [{**HEAD, "parameters": {"shared_memory_region": "a"}}]}),
        UnsupportedError,
        "'transaction': shared memory is not offered",
    ),
    "classes": (
        encoded(
            {**request_body(), "outputs": [{"name": "score", "parameters": {"classification": 2}}]}
        ),
        UnsupportedError,
        "'score': classification is not offered",
    ),
    "huge": (changed(shape=[10**18, 4]), InvalidInputError, r"4000000000000000000 elements"),
    "huger": (changed(shape=[10**40, 4]), InvalidInputError, r"expected \[-1, 4\]"),
    "nested too deep": (
        b'{"x": ' + b"[" * 100_000,
        MalformedRequestError,
        "nested too deep",
    ),
    "an umlaut cut in two": (
        changed(data="x" + "\u00e4" * 40).replace(b"\\u00e4", "\u00e4".encode()),
        InvalidInputError,
        "flat array",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_say_field_expected_and_given(case: str) -> None:
    body, error, message = BAD[case]
    with pytest.raises(error, match=message):
        CODEC.decode(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        CODEC.decode(body)


def test_scores_survive_the_way_back_exactly() -> None:
    scores = np.random.default_rng(1).random(5).astype(np.float32)
    body = CODEC.encode({"score": scores}, ("score",), "v", {"variant": "v"}, "r1")
    answer = json.loads(body)
    assert answer["model_name"] == "fraud"
    assert (answer["model_version"], answer["id"]) == ("v", "r1")
    output = answer["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("score", "FP32", [5])
    np.testing.assert_array_equal(np.array(output["data"], dtype=np.float32), scores)


def test_no_id_is_answered_where_none_was_given() -> None:
    body = CODEC.encode({"score": np.zeros(1, np.float32)}, ("score",), "v", {}, None)
    assert "id" not in json.loads(body)


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        ("UINT8", "[256]", "UINT8"),
        ("INT8", "[-129]", "INT8"),
        ("INT64", "[1.5]", "Expected `int`"),
        ("BOOL", "[1]", "Expected `bool`"),
        ("BYTES", "[1]", "Expected `str`"),
    ],
)
def test_values_outside_of_a_datatype_are_refused(datatype: Any, data: str, message: str) -> None:
    reader = InputReader(TensorSpec(name="x", datatype=datatype, shape=(-1,)))
    tensor = json.dumps({"name": "x", "shape": [1], "datatype": datatype})[:-1]
    import msgspec

    parsed = msgspec.json.decode(f'{tensor}, "data": {data}}}', type=InputTensor)
    with pytest.raises(InvalidInputError, match=message):
        reader.read(parsed)
