"""The inputs of a request, in JSON or in bytes, held against the model's signature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, UnsupportedError
from serve_app.protocol.binary import NO_BLOBS, SIZE, Blobs
from serve_app.protocol.layouts import FLOATS, LAYOUTS
from serve_app.protocol.messages import InputTensor
from serve_app.protocol.nested import NestedReader

_MAX_SIZE = 2**63 - 1
_SHOWN = 200
_REMEMBERED = 2048

_T = TypeVar("_T")


class InputReader:
    """Turns one of the model's inputs into an array, or says what is wrong with it.

    In JSON, `data` may be flat or nested, row-major. Bytes are taken as they lie, without a copy:
    such an array is read-only, and keeps the body in memory.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.name = spec.name
        self._datatype = spec.datatype
        self._shape = spec.shape
        self._layout = LAYOUTS[spec.datatype]
        self._nested = NestedReader(spec.datatype, len(spec.shape))
        self._finite = spec.datatype in FLOATS
        self._counts: dict[tuple[int, ...], int] = {}
        """Elements by shape, of shapes that were checked: most requests have one of them."""

    def read(self, tensor: InputTensor, blobs: Blobs = NO_BLOBS) -> npt.NDArray[Any]:
        """The array, of the model's dtype and the request's shape.

        Raises:
            InvalidInputError: datatype, shape, number or kind of elements are not the model's, or
                a value is not finite.
            MalformedRequestError: its bytes are not where they should be.
            UnsupportedError: the data is neither in the JSON nor behind it.
        """
        if tensor.datatype != self._datatype:
            raise self._wrong("datatype", self._datatype, _brief(tensor.datatype))
        count = self._counts.get(tuple(tensor.shape)) or self._count(tensor.shape)
        if tensor.parameters and SIZE in tensor.parameters:
            array = self._explained(self._layout.read, blobs.take(tensor), count)
        else:
            array = self._explained(self._nested.read, self._json(tensor))
        if array.size != count:
            raise self._wrong("data", f"{count} elements for shape {tensor.shape}", array.size)
        return self._checked(array).reshape(tensor.shape)

    def read_raw(self, body: bytes) -> npt.NDArray[Any]:
        """The array when the body is nothing but its bytes: the shape follows from their number.

        Of BYTES it is one element, without its length.

        Raises:
            InvalidInputError: it does not follow, the bytes are no such array, or see `read`.
        """
        width_bytes = self._layout.width_bytes
        if width_bytes is None:
            shape = [1] * len(self._shape)
            self._check_shape(shape)
            body = len(body).to_bytes(4, "little") + body
        else:
            shape = self._shape_of(len(body), width_bytes)
        array = self._explained(self._layout.read, memoryview(body), math.prod(shape))
        return self._checked(array).reshape(shape)

    def _shape_of(self, given_bytes: int, width_bytes: int) -> list[int]:
        if self._shape.count(-1) > 1:
            raise self._wrong(
                "shape", "JSON before the bytes: several dimensions vary", "bytes alone"
            )
        unit_bytes = width_bytes * math.prod(size for size in self._shape if size != -1)
        units, left = divmod(given_bytes, unit_bytes)
        if left or units == 0 or (units > 1 and -1 not in self._shape):
            raise self._wrong("data", f"a multiple of {unit_bytes} bytes", given_bytes)
        return [units if size == -1 else size for size in self._shape]

    def _count(self, shape: list[int]) -> int:
        """How many elements a shape has that the model takes."""
        self._check_shape(shape)
        if len(self._counts) >= _REMEMBERED:
            self._counts.clear()
        count = self._counts[tuple(shape)] = math.prod(shape)
        return count

    def _check_shape(self, shape: list[int]) -> None:
        fits = len(shape) == len(self._shape) and all(
            0 <= given <= _MAX_SIZE and wanted in (-1, given)
            for given, wanted in zip(shape, self._shape, strict=True)
        )
        if not fits:
            raise self._wrong("shape", f"{list(self._shape)} (-1: any)", _brief(shape))
        if shape and shape[0] == 0:
            raise self._wrong("shape", "at least one row", shape)

    def _json(self, tensor: InputTensor) -> bytes:
        raw = bytes(tensor.data)
        if not raw:
            if tensor.parameters and "shared_memory_region" in tensor.parameters:
                raise UnsupportedError(
                    f"input {self.name!r}: shared memory is not offered, send the data"
                )
            raise self._wrong("data", "an array", "nothing")
        return raw

    def _explained(self, read: Callable[..., _T], *arguments: Any) -> _T:
        """What a reader returns, or its complaint with the input's name before it."""
        try:
            return read(*arguments)
        except ValueError as error:
            raise InvalidInputError(f"input {self.name!r}: data: {error}") from error

    def _checked(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # Counting takes half as long as `all()` on an array of some hundred values.
        if self._finite and np.count_nonzero(np.isfinite(array)) != array.size:
            raise self._wrong("data", f"finite {self._datatype} values", "NaN or infinite ones")
        return array

    def _wrong(self, field: str, expected: object, given: object) -> InvalidInputError:
        return InvalidInputError(
            f"input {self.name!r}: {field}: expected {expected}, given {given}"
        )


class InputsReader:
    """All inputs of a model."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._readers = {spec.name: InputReader(spec) for spec in specs}

    def read(
        self, tensors: list[InputTensor], blobs: Blobs = NO_BLOBS
    ) -> tuple[dict[str, npt.NDArray[Any]], int]:
        """Arrays by name in the model's order, and the number of rows.

        Raises:
            InvalidInputError: an input is unknown, missing or twice there, or see `InputReader`.
        """
        given: dict[str, npt.NDArray[Any]] = {}
        for tensor in tensors:
            reader = self._readers.get(tensor.name)
            if reader is None:
                raise InvalidInputError(
                    f"input {_brief(tensor.name)!r}: unknown, expected {self._names()}"
                )
            if tensor.name in given:
                raise InvalidInputError(f"input {tensor.name!r}: given twice")
            given[tensor.name] = reader.read(tensor, blobs)
        if missing := [name for name in self._readers if name not in given]:
            raise InvalidInputError(f"input {missing[0]!r}: missing, expected {self._names()}")
        rows = {name: len(array) for name, array in given.items()}
        counts = set(rows.values())
        if len(counts) != 1:
            raise InvalidInputError(f"inputs: expected the same number of rows, given {rows}")
        return given, counts.pop()

    def read_raw(self, body: bytes) -> tuple[dict[str, npt.NDArray[Any]], int]:
        """The same, of a body that is the bytes of the model's only input.

        Raises:
            InvalidInputError: the model has several inputs, or see `InputReader.read_raw`.
        """
        if len(self._readers) != 1:
            raise InvalidInputError(
                "Inference-Header-Content-Length: 0 means that the body is the model's only "
                f"input, expected JSON that names {self._names()}"
            )
        [(name, reader)] = self._readers.items()
        array = reader.read_raw(body)
        return {name: array}, len(array)

    def _names(self) -> str:
        return ", ".join(self._readers)


def _brief(given: object) -> str:
    """What the caller sent, not more of it than a person reads."""
    text = str(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
