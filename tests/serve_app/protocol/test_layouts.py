from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from serve_app.protocol.layouts import DTYPES, LAYOUTS

NUMBERS = sorted(set(DTYPES) - {"BOOL", "BYTES"})


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_are_taken_as_they_lie(datatype: str) -> None:
    layout, dtype = LAYOUTS[datatype], np.dtype(DTYPES[datatype])
    array = np.arange(6).astype(dtype)
    wire = layout.write(array.reshape(2, 3))
    assert wire == array.astype(dtype.newbyteorder("<")).tobytes()
    read = layout.read(memoryview(wire), 6)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array)
    assert np.shares_memory(read, np.frombuffer(wire, np.uint8))


@pytest.mark.parametrize("offset", range(8))
def test_numbers_between_their_places_are_moved_to_one(offset: int) -> None:
    array = np.array([1.5, -2.5], np.float64)
    body = b"x" * offset + array.tobytes()
    read = LAYOUTS["FP64"].read(memoryview(body)[offset:], 2)
    np.testing.assert_array_equal(read, array)
    assert read.flags.aligned
    assert np.shares_memory(read, np.frombuffer(body, np.uint8)) == (offset == 0)


def test_what_is_not_contiguous_is_written_row_by_row() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert LAYOUTS["INT32"].write(array) == struct.pack("<6i", 0, 3, 1, 4, 2, 5)


def test_texts_are_as_tritons_client_writes_and_reads_them() -> None:
    texts = np.array(["", "a", "größer", "x" * 300], np.object_)
    wire = LAYOUTS["BYTES"].write(texts)
    assert wire == serialize_byte_tensor(np.array([t.encode() for t in texts], np.object_)).item()
    assert [text.decode() for text in deserialize_bytes_tensor(wire)] == texts.tolist()
    assert LAYOUTS["BYTES"].read(memoryview(wire), 4).tolist() == texts.tolist()


def test_booleans_are_bytes() -> None:
    array = np.array([True, False, True])
    assert LAYOUTS["BOOL"].write(array) == b"\x01\x00\x01"
    assert LAYOUTS["BOOL"].read(memoryview(b"\x01\x00\x01"), 3).tolist() == array.tolist()


BAD: dict[str, tuple[str, bytes, int, str]] = {
    "short": ("FP32", b"\0" * 7, 2, "expected 8 bytes, given 7"),
    "long": ("FP32", b"\0" * 9, 2, "expected 8 bytes, given 9"),
    "neither true nor false": ("BOOL", b"\x01\x02", 2, "expected bytes 0 and 1, given 2"),
    "no room for lengths": ("BYTES", b"\0" * 7, 2, "at least 4 bytes, given 7 bytes"),
    "a huge count": ("BYTES", b"\0" * 8, 10**18, "expected 1000000000000000000 elements"),
    "a huge length": ("BYTES", b"\xff\xff\xff\xff", 1, "4294967295 bytes for element 0, given few"),
    "a length cut": ("BYTES", b"\x01\0\0\0a\0\0\0", 2, "for element 1|expected"),
    "bytes left": ("BYTES", b"\x01\0\0\0abc", 1, "given 2 bytes more"),
    "not UTF-8": ("BYTES", b"\x01\0\0\0\xff", 1, "expected UTF-8 in element 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_bytes_are_refused(case: str) -> None:
    datatype, blob, count, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        LAYOUTS[datatype].read(memoryview(blob), count)


def test_nothing_is_an_empty_array() -> None:
    for layout in LAYOUTS.values():
        empty: Any = layout.read(memoryview(b""), 0)
        assert empty.shape == (0,)
