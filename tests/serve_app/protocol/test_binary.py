from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.http import InferenceServerClient

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, MalformedRequestError, RequestError
from serve_app.protocol.binary import parse_json_bytes
from serve_app.protocol.codec import Codec
from serve_app.protocol.layouts import DTYPES
from tests.serve_app.protocol.bodies import document, mixed
from tests.support.store import make_document, make_samples

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy; nothing here is about time."""

CODEC = Codec(make_document(), max_rows=1024)
BATCH = make_samples().rows(0, 3)
NAMES = ("transaction", "history")
FORMS: list[tuple[str, ...]] = [(), ("transaction",), ("history",), NAMES]

SPECS = tuple(
    TensorSpec(name=name.lower(), datatype=name, shape=(-1, 2))  # type: ignore[arg-type]
    for name in DTYPES
)
SCORE = TensorSpec(name="score", datatype="FP32", shape=(-1,))
EVERY = Codec(document(*SPECS, outputs=(*SPECS, SCORE)), max_rows=64)


@pytest.mark.parametrize("form", FORMS)
def test_inputs_may_be_mixed(form: tuple[str, ...]) -> None:
    body, json_bytes = mixed(BATCH, form, id="r1", parameters={"customer_id": "c"})
    decoded = CODEC.decode(body, json_bytes=json_bytes)
    assert (decoded.rows, decoded.id, decoded.key) == (3, "r1", "c")
    for name, array in BATCH.items():
        np.testing.assert_array_equal(decoded.inputs[name], array)


def test_bytes_that_lie_well_are_not_copied() -> None:
    shared = set()
    for pad in range(4):
        body, json_bytes = mixed(BATCH, NAMES, pad)
        decoded = CODEC.decode(body, json_bytes=json_bytes)
        in_body = [
            np.shares_memory(array, np.frombuffer(body, np.uint8))
            for array in decoded.inputs.values()
        ]
        assert in_body == [json_bytes % 4 == 0] * 2
        shared |= set(in_body)
    assert shared == {True, False}


def head(**changes: Any) -> dict[str, Any]:
    """An input of the tiny model that has its bytes behind the JSON."""
    tensor = {"name": "transaction", "shape": [1, 4], "datatype": "FP32"}
    return {**tensor, "parameters": {"binary_data_size": 16}, **changes}


HISTORY = {"name": "history", "shape": [1, 3, 2], "datatype": "FP32", "data": [0.0] * 6}
NAN, INFINITE = (np.full(4, value, np.float32).tobytes() for value in (np.nan, np.inf))

BAD: dict[str, tuple[dict[str, Any], bytes, type[RequestError], str]] = {
    "size of another shape": (
        head(shape=[2, 4]), b"\0" * 16, InvalidInputError, "expected 32 bytes, given 16",
    ),
    "size beyond the body": (
        head(), b"\0" * 7, MalformedRequestError, "the 7 bytes that are left .* given 16",
    ),
    "size negative": (
        head(parameters={"binary_data_size": -4}), b"", MalformedRequestError, "given -4",
    ),
    "size true": (
        head(parameters={"binary_data_size": True}), b"\0", MalformedRequestError, "given True",
    ),
    "size text": (
        head(parameters={"binary_data_size": "16"}), b"\0" * 16, MalformedRequestError, "'16'",
    ),
    "size huge": (
        head(parameters={"binary_data_size": 10**30}), b"", MalformedRequestError, "given 1000",
    ),
    "bytes left": (head(), b"\0" * 17, MalformedRequestError, "the body has 1 bytes more"),
    "twice": (
        head(data=[0.0] * 4), b"\0" * 16, MalformedRequestError, "no data in the JSON, given both",
    ),
    "huge shape": (
        head(shape=[10**18, 4]), b"\0" * 16, InvalidInputError, "expected 16000000000000000000 by",
    ),
    "negative shape": (head(shape=[-1, 4]), b"\0" * 16, InvalidInputError, r"given \[-1, 4\]"),
    "zero rows": (
        head(shape=[0, 4], parameters={"binary_data_size": 0}), b"", InvalidInputError,
        "at least one row",
    ),
    "datatype": (head(datatype="INT32"), b"\0" * 16, InvalidInputError, "expected FP32, given INT"),
    "nan": (head(), NAN, InvalidInputError, "finite FP32 values"),
    "infinite": (head(), INFINITE, InvalidInputError, "finite FP32 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_bytes_say_field_expected_and_given(case: str) -> None:
    tensor, blob, error, message = BAD[case]
    text = json.dumps({"inputs": [tensor, HISTORY]}).encode()
    with pytest.raises(error, match=message):
        CODEC.decode(text + blob, json_bytes=len(text))


def test_bytes_need_the_header() -> None:
    text = json.dumps({"inputs": [head(), HISTORY]}).encode()
    with pytest.raises(MalformedRequestError, match="Inference-Header-Content-Length, given none"):
        CODEC.decode(text)
    with pytest.raises(MalformedRequestError, match=f"at most {len(text)}, .* given 9999"):
        CODEC.decode(text, json_bytes=9999)


def test_an_input_may_not_be_given_in_both_forms() -> None:
    doubled = {**head(), "parameters": None, "data": [0.0] * 4}
    text = json.dumps({"inputs": [head(), doubled, HISTORY]}).encode()
    with pytest.raises(InvalidInputError, match="'transaction': given twice"):
        CODEC.decode(text + b"\0" * 16, json_bytes=len(text))


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"ten", b"1, 1", b"9" * 5000, b"\xb2"])
def test_the_header_is_a_number(value: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="expected a number of bytes"):
        parse_json_bytes(value)


RAW = Codec(document(TensorSpec(name="x", datatype="FP32", shape=(-1, 4))), max_rows=8)
TEXT = Codec(document(TensorSpec(name="x", datatype="BYTES", shape=(-1, 1))), max_rows=8)


def test_a_body_may_be_the_only_input() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    decoded = RAW.decode(array.tobytes(), key="c", json_bytes=0)
    np.testing.assert_array_equal(decoded.inputs["x"], array)
    assert (decoded.rows, decoded.key, decoded.binary) == (3, "c", ("score",))
    assert TEXT.decode("größer".encode(), json_bytes=0).inputs["x"].tolist() == [["größer"]]


@pytest.mark.parametrize(
    ("codec", "body", "message"),
    [
        (RAW, b"", "multiple of 16 bytes, given 0"),
        (RAW, b"\0" * 17, "multiple of 16 bytes, given 17"),
        (RAW, NAN, "finite"),
        (RAW, b"\0" * 16 * 9, "9 rows given"),
        (CODEC, b"\0" * 16, "expected JSON that names transaction, history"),
        (TEXT, b"\xff", "expected UTF-8"),
        (
            Codec(document(TensorSpec(name="x", datatype="INT8", shape=(-1, -1))), 8),
            b"\0\0",
            "several dimensions vary",
        ),
        (
            Codec(document(TensorSpec(name="x", datatype="INT8", shape=(2,))), 8),
            b"\0" * 4,
            "multiple of 2 bytes, given 4",
        ),
    ],
)
def test_a_body_that_is_no_input_is_refused(codec: Codec, body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        codec.decode(body, json_bytes=0)


@pytest.mark.parametrize(
    ("asked", "binary"),
    [
        ({}, ()),
        ({"parameters": {"binary_data_output": True}}, ("score",)),
        ({"outputs": [{"name": "score"}]}, ()),
        ({"outputs": [{"name": "score", "parameters": {"binary_data": True}}]}, ("score",)),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "score", "parameters": {"binary_data": False}}],
            },
            (),
        ),
        ({"parameters": {"binary_data_output": True}, "outputs": [{"name": "score"}]}, ("score",)),
    ],
)
def test_an_outputs_own_form_wins(asked: dict[str, Any], binary: tuple[str, ...]) -> None:
    body, _ = mixed(BATCH, (), **asked)
    assert CODEC.decode(body).binary == binary


@pytest.mark.parametrize(
    "asked",
    [
        {"parameters": {"binary_data_output": 1}},
        {"outputs": [{"name": "score", "parameters": {"binary_data": "yes"}}]},
    ],
)
def test_a_form_is_true_or_false(asked: dict[str, Any]) -> None:
    body, _ = mixed(BATCH, (), **asked)
    with pytest.raises(MalformedRequestError, match="expected true or false"):
        CODEC.decode(body)


FINITE: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}
ELEMENTS: dict[str, Any] = {
    "FP16": st.floats(width=16, **FINITE),
    "FP32": st.floats(width=32, **FINITE),
    "FP64": st.floats(width=64, **FINITE),
    "BYTES": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
}


def values(datatype: str, rows: int) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Arrays of `rows` rows of two."""
    return arrays.arrays(np.dtype(DTYPES[datatype]), (rows, 2), elements=ELEMENTS.get(datatype))


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, npt.NDArray[Any]], list[str], int]:
    """All datatypes there are, some of them in bytes, at any place in the body."""
    rows = draw(st.integers(1, 4))
    inputs = {name.lower(): draw(values(name, rows)) for name in DTYPES}
    return inputs, draw(st.lists(st.sampled_from(list(inputs)))), draw(st.integers(0, 8))


@PATIENT
@given(requests())
def test_json_and_bytes_are_bit_equal(
    request: tuple[dict[str, npt.NDArray[Any]], list[str], int],
) -> None:
    inputs, in_bytes, pad = request
    in_json, _ = mixed(inputs, ())
    body, json_bytes = mixed(inputs, in_bytes, pad)
    expected, got = EVERY.decode(in_json), EVERY.decode(body, json_bytes=json_bytes)
    for name, array in expected.inputs.items():
        assert got.inputs[name].dtype == array.dtype == inputs[name].dtype
        assert got.inputs[name].shape == array.shape
        if array.dtype.hasobject:
            assert got.inputs[name].tolist() == array.tolist()
        else:
            assert got.inputs[name].tobytes() == array.tobytes()


@PATIENT
@given(requests())
def test_tritons_client_reads_the_answer_bit_by_bit(
    request: tuple[dict[str, npt.NDArray[Any]], list[str], int],
) -> None:
    outputs, in_bytes, _ = request
    body, json_bytes = EVERY.encode_mixed(outputs, list(outputs), in_bytes, "v", {}, "r1")
    result = InferenceServerClient.parse_response_body(body, header_length=json_bytes)
    assert result.get_response()["id"] == "r1"
    for name, array in outputs.items():
        read = result.as_numpy(name)
        assert read.shape == array.shape
        if array.dtype.hasobject:
            texts = [text.decode() if isinstance(text, bytes) else text for text in read.ravel()]
            assert texts == array.ravel().tolist()
        else:
            assert (read.dtype, read.tobytes()) == (array.dtype, array.tobytes())


@PATIENT
@given(st.binary(max_size=300), st.none() | st.integers(0, 400))
def test_any_bytes_are_decoded_or_refused(body: bytes, json_bytes: int | None) -> None:
    for codec in (CODEC, EVERY, RAW, TEXT):
        with contextlib.suppress(RequestError):
            codec.decode(body, json_bytes=json_bytes)


NUMBER = st.integers(-5, 40) | st.integers() | st.sampled_from([2**31, 2**63, 10**18, 10**40])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBER | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "binary_data_output", "shared_memory_region", "fp32"]
    ),
    NUMBER | st.booleans() | st.text(max_size=3) | ANYTHING,
    max_size=2,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, *(spec.name for spec in SPECS)]) | ANYTHING,
        "shape": st.just([1, 2]) | st.lists(NUMBER, max_size=4) | ANYTHING,
        "datatype": st.sampled_from([*DTYPES, "BF16"]) | ANYTHING,
    },
    optional={"data": ANYTHING | st.lists(NUMBER, max_size=8), "parameters": PARAMETERS},
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=4)},
    optional={
        "id": ANYTHING,
        "parameters": PARAMETERS,
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["score", "fp32"]) | ANYTHING},
                optional={"parameters": PARAMETERS},
            ),
            max_size=3,
        ),
    },
)


@PATIENT
@given(REQUEST, st.binary(max_size=64), st.integers(-3, 3) | st.none())
def test_requests_that_are_nearly_right_are_decoded_or_refused(
    request: dict[str, Any], blob: bytes, off: int | None
) -> None:
    text = json.dumps(request).encode()
    json_bytes = None if off is None else max(0, len(text) + off)
    body = text if off is None else text + blob
    for codec in (CODEC, EVERY, RAW, TEXT):
        with contextlib.suppress(RequestError):
            codec.decode(body, json_bytes=json_bytes)


@PATIENT
@given(st.data())
def test_a_good_request_with_a_byte_changed_is_decoded_or_refused(data: st.DataObject) -> None:
    body, json_bytes = mixed(BATCH, NAMES[: data.draw(st.integers(0, 2))])
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(changed), body[:cut]):
        with contextlib.suppress(RequestError):
            CODEC.decode(damaged, json_bytes=json_bytes)
