"""Tensors between JSON and numpy."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, UnsupportedError
from serve_app.protocol.messages import InputTensor

_FLOATS = ("FP16", "FP32", "FP64")
_DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip


def _element(datatype: str) -> Any:
    if datatype in _FLOATS:
        return float
    return {"BOOL": bool, "BYTES": str}.get(datatype, int)


class InputReader:
    """Turns the JSON of one of the model's inputs into an array, or says what is wrong with it.

    `data` may be flat or nested, row-major.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.name = spec.name
        self._datatype = spec.datatype
        self._shape = spec.shape
        self._dtype = np.dtype(_DTYPES[spec.datatype])
        self._finite = spec.datatype in _FLOATS
        kind: Any = _element(spec.datatype)
        self._decoders = []
        for _ in spec.shape or (1,):
            kind = list[kind]
            self._decoders.append(msgspec.json.Decoder(kind).decode)

    def read(self, tensor: InputTensor) -> npt.NDArray[Any]:
        """The array, of the model's dtype and the request's shape.

        Raises:
            InvalidInputError: datatype, shape, number or kind of elements are not the model's, or
                a value is not finite.
            UnsupportedError: the data is not in the JSON.
        """
        if tensor.datatype != self._datatype:
            raise self._wrong("datatype", self._datatype, tensor.datatype)
        self._check_shape(tensor.shape)
        array = self._parse(tensor)
        count = 1
        for size in tensor.shape:
            count *= size
        if array.size != count:
            raise self._wrong("data", f"{count} elements for shape {tensor.shape}", array.size)
        if self._finite and not np.isfinite(array).all():
            raise self._wrong("data", f"finite {self._datatype} values", "NaN or infinite ones")
        return array.reshape(tensor.shape)

    def _check_shape(self, shape: list[int]) -> None:
        fits = len(shape) == len(self._shape) and all(
            given >= 0 and wanted in (-1, given)
            for given, wanted in zip(shape, self._shape, strict=True)
        )
        if not fits:
            raise self._wrong("shape", f"{list(self._shape)} (-1: any)", shape)
        if shape and shape[0] == 0:
            raise self._wrong("shape", "at least one row", shape)

    def _parse(self, tensor: InputTensor) -> npt.NDArray[Any]:
        raw = bytes(tensor.data)
        if not raw:
            if tensor.parameters and "binary_data_size" in tensor.parameters:
                raise UnsupportedError(
                    f"input {self.name!r}: binary tensor data is not supported, send JSON "
                    "(tritonclient: set_data_from_numpy(…, binary_data=False))"
                )
            raise self._wrong("data", "an array", "nothing")
        depth = _depth(raw)
        if not 1 <= depth <= len(self._decoders):
            raise self._wrong("data", "a flat array or one nested like shape", raw[:40].decode())
        try:
            values = self._decoders[depth - 1](raw)
            with np.errstate(over="ignore"):
                return np.array(values, dtype=self._dtype)
        except msgspec.DecodeError as error:
            raise self._wrong("data", f"{self._datatype} values", str(error)) from error
        except (ValueError, OverflowError) as error:
            raise self._wrong("data", f"an array of {self._datatype}", str(error)) from error

    def _wrong(self, field: str, expected: object, given: object) -> InvalidInputError:
        return InvalidInputError(
            f"input {self.name!r}: {field}: expected {expected}, given {given}"
        )


def _depth(raw: bytes) -> int:
    """How many brackets the JSON opens with: how deep the array is nested."""
    depth = 0
    for byte in raw:
        if byte == 0x5B:
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth


class InputsReader:
    """All inputs of a model."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._readers = {spec.name: InputReader(spec) for spec in specs}

    def read(self, tensors: list[InputTensor]) -> tuple[dict[str, npt.NDArray[Any]], int]:
        """Arrays by name in the model's order, and the number of rows.

        Raises:
            InvalidInputError: an input is unknown, missing or twice there, or see `InputReader`.
        """
        given: dict[str, npt.NDArray[Any]] = {}
        for tensor in tensors:
            reader = self._readers.get(tensor.name)
            if reader is None:
                raise InvalidInputError(f"input {tensor.name!r}: unknown, expected {self._names()}")
            if tensor.name in given:
                raise InvalidInputError(f"input {tensor.name!r}: given twice")
            given[tensor.name] = reader.read(tensor)
        if missing := [name for name in self._readers if name not in given]:
            raise InvalidInputError(f"input {missing[0]!r}: missing, expected {self._names()}")
        rows = {name: len(array) for name, array in given.items()}
        counts = set(rows.values())
        if len(counts) != 1:
            raise InvalidInputError(f"inputs: expected the same number of rows, given {rows}")
        return given, counts.pop()

    def _names(self) -> str:
        return ", ".join(self._readers)
