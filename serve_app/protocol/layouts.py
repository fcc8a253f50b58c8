"""How the elements of a tensor lie in bytes: little-endian, row-major, as the protocol has it."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip
"""What an array of a datatype is in memory; BYTES are objects of type `str`."""

FLOATS = ("FP16", "FP32", "FP64")

_LENGTH_BYTES = 4


class Layout(Protocol):
    """Bytes to the elements of one datatype and back."""

    width_bytes: int | None
    """Of an element; None where elements differ."""

    def read(self, blob: memoryview, count: int) -> npt.NDArray[Any]:
        """Flat array of `count` elements. It may share the blob's memory and be read-only.

        Raises:
            ValueError: the blob is not that many elements; says what was expected and given.
        """
        ...

    def write(self, array: npt.NDArray[Any]) -> bytes:
        """The array's elements, row-major."""
        ...


class FixedWidth:
    """Numbers. Nothing is copied but what does not lie at a multiple of its width."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._wire = self._dtype.newbyteorder("<")
        self.width_bytes: int | None = self._dtype.itemsize

    def read(self, blob: memoryview, count: int) -> npt.NDArray[Any]:
        """See `Layout.read`."""
        if len(blob) != count * self._dtype.itemsize:
            raise ValueError(f"expected {count * self._dtype.itemsize} bytes, given {len(blob)}")
        array: npt.NDArray[Any] = np.frombuffer(blob, self._wire)
        if sys.byteorder == "little" and array.flags.aligned:
            return array
        # The runtimes' kernels expect numbers where the compiler would put them.
        return array.astype(self._dtype)

    def write(self, array: npt.NDArray[Any]) -> bytes:
        """See `Layout.write`."""
        return np.ascontiguousarray(array, self._wire).tobytes()


class Booleans(FixedWidth):
    """One byte each, 0 or 1: numpy would take any other for neither true nor false."""

    def __init__(self) -> None:
        super().__init__(np.uint8)

    def read(self, blob: memoryview, count: int) -> npt.NDArray[Any]:
        """See `Layout.read`."""
        array = super().read(blob, count)
        if array.size and array.max() > 1:
            raise ValueError(f"expected bytes 0 and 1, given {array.max()}")
        return array.view(np.bool_)


class Texts:
    """BYTES: each element its length in four bytes, then that many bytes of UTF-8."""

    width_bytes: int | None = None

    def read(self, blob: memoryview, count: int) -> npt.NDArray[Any]:
        """See `Layout.read`."""
        if count * _LENGTH_BYTES > len(blob):
            raise ValueError(
                f"expected {count} elements of at least {_LENGTH_BYTES} bytes, "
                f"given {len(blob)} bytes"
            )
        array = np.empty(count, np.object_)
        start = 0
        for index in range(count):
            end = start + _LENGTH_BYTES
            length = int.from_bytes(blob[start:end], "little")
            start, end = end, end + length
            if end > len(blob):
                raise ValueError(f"expected {length} bytes for element {index}, given fewer")
            array[index] = _decode(blob[start:end], index)
            start = end
        if start != len(blob):
            raise ValueError(f"expected {count} elements, given {len(blob) - start} bytes more")
        return array

    def write(self, array: npt.NDArray[Any]) -> bytes:
        """See `Layout.write`."""
        parts: list[bytes] = []
        for element in array.ravel().tolist():
            text = element if isinstance(element, bytes) else str(element).encode()
            parts += (len(text).to_bytes(_LENGTH_BYTES, "little"), text)
        return b"".join(parts)


def _decode(text: memoryview, index: int) -> str:
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 in element {index}, given {error.reason}") from error


LAYOUTS: dict[str, Layout] = {
    **{name: FixedWidth(dtype) for name, dtype in DTYPES.items() if name not in ("BOOL", "BYTES")},
    "BOOL": Booleans(),
    "BYTES": Texts(),
}
"""By the protocol's datatype."""
