from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, MalformedRequestError, UnsupportedError
from serve_app.protocol.contents import (
    FIELDS,
    ContentsReader,
    ContentsReaders,
    read_contents,
    write_contents,
)
from serve_app.protocol.inference.messages_pb2 import InferTensorContents, ModelInferRequest
from serve_app.protocol.layouts import DTYPES, LAYOUTS

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True, True],
    "UINT8": [0, 255, 1, 2], "UINT16": [0, 65535, 1, 2], "UINT32": [0, 2**32 - 1, 1, 2],
    "UINT64": [0, 2**64 - 1, 1, 2],
    "INT8": [-128, 127, 0, 1], "INT16": [-32768, 32767, 0, 1], "INT32": [-(2**31), 2**31 - 1, 0, 1],
    "INT64": [-(2**63), 2**63 - 1, 0, 1],
    "FP16": [0.5, -2.0, 0.0, 1.0], "FP32": [0.1, -2.5, 0.0, 1e30], "FP64": [0.1, -2.5, 0.0, 1e300],
    "BYTES": ["", "a", "münze", "日本"],
}  # fmt: skip


def array_of(datatype: str) -> np.ndarray[Any, Any]:
    return np.array(VALUES[datatype], DTYPES[datatype])


def tensor_of(
    datatype: str = "FP32", shape: tuple[int, ...] = (2, 2), **contents: Any
) -> ModelInferRequest.InferInputTensor:
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(InferTensorContents(**contents))
    return tensor


def reader_of(datatype: str = "FP32") -> ContentsReader:
    return ContentsReader(TensorSpec(name="x", datatype=datatype, shape=(-1, 2)))  # type: ignore[arg-type]


def test_every_datatype_of_the_store_is_known() -> None:
    assert set(VALUES) == set(DTYPES) == set(LAYOUTS) == {*FIELDS, "FP16"}


@pytest.mark.parametrize("datatype", sorted(FIELDS))
def test_typed_contents_come_back_as_they_went(datatype: str) -> None:
    array = array_of(datatype)
    contents = write_contents(array, datatype)
    assert [field.name for field, _ in contents.ListFields()] == [FIELDS[datatype]]
    back = read_contents(contents, datatype, 4)
    assert back.dtype == DTYPES[datatype]
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("datatype", sorted(VALUES))
def test_raw_and_typed_contents_are_read_alike(datatype: str) -> None:
    array, reader = array_of(datatype), reader_of(datatype)
    raw = reader.read_message(tensor_of(datatype), LAYOUTS[datatype].write(array))
    assert (raw.shape, raw.dtype) == ((2, 2), array.dtype)
    np.testing.assert_array_equal(raw.ravel(), array)
    if datatype in FIELDS:
        tensor = tensor_of(datatype)
        tensor.contents.CopyFrom(write_contents(array, datatype))
        np.testing.assert_array_equal(reader.read_message(tensor, None), raw)


def test_raw_floats_are_not_copied() -> None:
    raw = array_of("FP32").tobytes()
    read = reader_of().read_message(tensor_of(), raw)
    assert np.shares_memory(read, np.frombuffer(raw, np.float32))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (tensor_of(fp64_contents=[1.0] * 4), "data: expected fp32_contents for FP32, given fp64"),
        (tensor_of(), "data: expected fp32_contents for FP32, given nothing"),
        (tensor_of(fp32_contents=[1.0], int_contents=[1]), "given int_contents, fp32_contents"),
        (tensor_of(fp32_contents=[1.0] * 3), "data: expected 4 elements, given 3"),
        (tensor_of(fp32_contents=[1.0, 2.0, float("nan"), 1.0]), "finite FP32 values"),
        (tensor_of(datatype="FP64"), "datatype: expected FP32, given FP64"),
        (tensor_of(datatype=""), "datatype: expected FP32, given nothing"),
        (tensor_of(shape=(2,)), "shape: expected [-1, 2] (-1: any), given [2]"),
        (tensor_of(shape=(-1, 2)), "shape: expected"),
        (tensor_of(shape=(0, 2)), "at least one row"),
        (tensor_of(shape=(2**62, 2), fp32_contents=[1.0]), f"expected {2**63} elements, given 1"),
    ],
)
def test_typed_contents_that_do_not_fit(
    tensor: ModelInferRequest.InferInputTensor, message: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        reader_of().read_message(tensor, None)
    assert str(raised.value).startswith("input 'x': ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("datatype", "raw", "message"),
    [
        ("FP32", b"\0" * 15, "expected 16 bytes, given 15"),
        ("FP32", b"", "expected 16 bytes, given 0"),
        ("FP32", np.full(4, np.inf, np.float32).tobytes(), "finite FP32 values"),
        ("BOOL", b"\0\1\2\0", "expected bytes 0 and 1, given 2"),
        ("BYTES", b"\1\0\0\0\xff" * 4, "expected UTF-8"),
    ],
)
def test_raw_contents_that_do_not_fit(datatype: str, raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        reader_of(datatype).read_message(tensor_of(datatype), raw)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("datatype", "contents", "given"),
    [
        ("INT8", {"int_contents": [0, 1, 128, 2]}, 128),
        ("UINT16", {"uint_contents": [0, 1, 2, 65536]}, 65536),
    ],
)
def test_elements_wider_than_the_datatype(
    datatype: str, contents: dict[str, Any], given: int
) -> None:
    with pytest.raises(InvalidInputError, match=f"expected {datatype} values, given {given}"):
        reader_of(datatype).read_message(tensor_of(datatype, **contents), None)


def test_fp16_has_no_typed_contents() -> None:
    with pytest.raises(InvalidInputError, match="expected FP16 in raw_input_contents, given fp32"):
        reader_of("FP16").read_message(tensor_of("FP16", fp32_contents=[1.0] * 4), None)


def test_bytes_that_are_no_text() -> None:
    tensor = tensor_of("BYTES", bytes_contents=[b"a", b"\xff", b"", b""])
    with pytest.raises(InvalidInputError, match="expected UTF-8 in element 1"):
        reader_of("BYTES").read_message(tensor, None)


def test_raw_and_typed_contents_exclude_each_other() -> None:
    with pytest.raises(MalformedRequestError, match="given both"):
        reader_of().read_message(tensor_of(fp32_contents=[1.0] * 4), b"\0" * 16)


def test_shared_memory_is_not_offered() -> None:
    tensor = tensor_of()
    tensor.parameters["shared_memory_region"].string_param = "region"
    with pytest.raises(UnsupportedError, match="shared memory is not offered"):
        reader_of().read_message(tensor, None)


SPECS = (
    TensorSpec(name="a", datatype="INT64", shape=(-1,)),
    TensorSpec(name="b", datatype="FP32", shape=(-1, 2)),
)


def request_of(*inputs: tuple[str, int], raw: int | None = None) -> ModelInferRequest:
    """Inputs by name and rows; with `raw`, that many raw contents."""
    request = ModelInferRequest()
    for name, rows in inputs:
        if name == "b":
            tensor = request.inputs.add(name=name, datatype="FP32", shape=(rows, 2))
            if raw is None:
                tensor.contents.fp32_contents.extend([0.5] * (2 * rows))
        else:
            tensor = request.inputs.add(name=name, datatype="INT64", shape=(rows,))
            if raw is None:
                tensor.contents.int64_contents.extend([1] * rows)
    request.raw_input_contents.extend([b"\0" * 8] * (raw or 0))
    return request


@pytest.mark.parametrize("raw", [None, 2])
def test_inputs_are_found_by_name(raw: int | None) -> None:
    arrays, rows = ContentsReaders(SPECS).read(request_of(("b", 1), ("a", 1), raw=raw))
    assert rows == 1
    assert {name: array.shape for name, array in arrays.items()} == {"a": (1,), "b": (1, 2)}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (request_of(("a", 1), ("c", 1)), "input 'c': unknown, expected a, b"),
        (request_of(("a", 1), ("a", 1)), "input 'a': given twice"),
        (request_of(("a", 1)), "input 'b': missing, expected a, b"),
        (request_of(), "input 'a': missing"),
        (request_of(("a", 1), ("b", 2)), "inputs: expected the same number of rows"),
    ],
)
def test_inputs_that_are_not_the_models(request_: ModelInferRequest, message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        ContentsReaders(SPECS).read(request_)
    assert message in str(raised.value)


@pytest.mark.parametrize("raw", [1, 3])
def test_raw_contents_are_one_for_each_input(raw: int) -> None:
    with pytest.raises(MalformedRequestError, match=f"expected 2 elements.*given {raw}"):
        ContentsReaders(SPECS).read(request_of(("a", 1), ("b", 1), raw=raw))
