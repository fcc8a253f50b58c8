"""Tensors between protobuf and numpy: raw bytes, or typed contents in the field of a datatype."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, MalformedRequestError, UnsupportedError
from serve_app.protocol.inference.messages_pb2 import InferTensorContents, ModelInferRequest
from serve_app.protocol.layouts import DTYPES, LAYOUTS
from serve_app.protocol.tensors import InputReader

FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip
"""Where the elements of a datatype stand. The protocol has no field for FP16: it goes raw."""

_WIDE: Mapping[str, npt.DTypeLike] = {"int_contents": np.int32, "uint_contents": np.uint32}
"""Elements of fields that several datatypes share."""


def read_contents(
    contents: InferTensorContents, datatype: str, count: int
) -> npt.NDArray[np.generic]:
    """Flat array of `count` elements, of the datatype's dtype.

    Raises:
        ValueError: they are in another field, more or fewer, or out of range; says which.
    """
    field = FIELDS.get(datatype)
    filled = [descriptor.name for descriptor, _ in contents.ListFields()]
    if field is None:
        raise ValueError(f"expected {datatype} in raw_input_contents, given {_listed(filled)}")
    if filled != [field]:
        raise ValueError(f"expected {field} for {datatype}, given {_listed(filled)}")
    values = getattr(contents, field)
    if len(values) != count:
        raise ValueError(f"expected {count} elements, given {len(values)}")
    if datatype == "BYTES":
        return _texts(values)
    # numpy takes over the whole field at once: 3 µs whatever its length.
    array = np.array(values, _WIDE.get(field, DTYPES[datatype]))
    return _narrowed(array, datatype) if field in _WIDE else array


def write_contents(array: npt.NDArray[np.generic], datatype: str) -> InferTensorContents:
    """The elements of an array, row-major, in the datatype's field; not for FP16."""
    values = array.ravel().tolist()
    if datatype == "BYTES":
        values = [text if isinstance(text, bytes) else str(text).encode() for text in values]
    return InferTensorContents(**{FIELDS[datatype]: values})


def _texts(values: list[bytes]) -> npt.NDArray[np.generic]:
    array = np.empty(len(values), np.object_)
    for index, value in enumerate(values):
        try:
            array[index] = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"expected UTF-8 in element {index}, given {error.reason}") from error
    return array


def _narrowed(array: npt.NDArray[np.generic], datatype: str) -> npt.NDArray[np.generic]:
    narrow = array.astype(DTYPES[datatype])
    if not np.array_equal(narrow, array):
        worst = array[narrow != array][0]
        raise ValueError(f"expected {datatype} values, given {worst}")
    return narrow


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


class ContentsReader(InputReader):
    """Turns one of the model's inputs in protobuf into an array, or says what is wrong with it."""

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self._layout_of_bytes = LAYOUTS[spec.datatype]

    def read_message(
        self, tensor: ModelInferRequest.InferInputTensor, raw: bytes | None
    ) -> npt.NDArray[np.generic]:
        """The array, of the model's dtype and the request's shape.

        `raw` are its bytes, None where they are typed contents of the tensor. What came raw is
        not copied: such an array is read-only.

        Raises:
            InvalidInputError: datatype, shape or elements are not the model's, or a value is not
                finite.
            MalformedRequestError: it has contents and raw bytes both.
            UnsupportedError: the data lies in shared memory.
        """
        if tensor.datatype != self._datatype:
            raise self._wrong("datatype", self._datatype, tensor.datatype or "nothing")
        shape = list(tensor.shape)
        self._check_shape(shape)
        try:
            array = self._elements(tensor, raw, math.prod(shape))
        except ValueError as error:
            raise InvalidInputError(f"input {self.name!r}: data: {error}") from error
        if self._finite and not np.isfinite(array).all():
            raise self._wrong("data", f"finite {self._datatype} values", "NaN or infinite ones")
        return array.reshape(shape)

    def _elements(
        self, tensor: ModelInferRequest.InferInputTensor, raw: bytes | None, count: int
    ) -> npt.NDArray[np.generic]:
        if "shared_memory_region" in tensor.parameters:
            raise UnsupportedError(f"input {self.name!r}: shared memory is not offered, send data")
        if raw is None:
            return read_contents(tensor.contents, self._datatype, count)
        if tensor.HasField("contents"):
            raise MalformedRequestError(
                f"input {self.name!r}: expected either contents or raw_input_contents, given both"
            )
        return self._layout_of_bytes.read(memoryview(raw), count)


class ContentsReaders:
    """All inputs of a model."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._readers = {spec.name: ContentsReader(spec) for spec in specs}

    def read(self, request: ModelInferRequest) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
        """Arrays by name, and the number of rows.

        Raises:
            InvalidInputError: an input is unknown, missing or twice there, or see `ContentsReader`.
            MalformedRequestError: raw contents are not one for each input.
        """
        blobs = request.raw_input_contents
        if blobs and len(blobs) != len(request.inputs):
            raise MalformedRequestError(
                f"raw_input_contents: expected {len(request.inputs)} elements, one for each "
                f"input, or none, given {len(blobs)}"
            )
        given: dict[str, npt.NDArray[np.generic]] = {}
        for index, tensor in enumerate(request.inputs):
            reader = self._readers.get(tensor.name)
            if reader is None:
                raise InvalidInputError(f"input {tensor.name!r}: unknown, expected {self._names()}")
            if tensor.name in given:
                raise InvalidInputError(f"input {tensor.name!r}: given twice")
            given[tensor.name] = reader.read_message(tensor, blobs[index] if blobs else None)
        if missing := [name for name in self._readers if name not in given]:
            raise InvalidInputError(f"input {missing[0]!r}: missing, expected {self._names()}")
        rows = {name: len(array) for name, array in given.items()}
        counts = set(rows.values())
        if len(counts) != 1:
            raise InvalidInputError(f"inputs: expected the same number of rows, given {rows}")
        return given, counts.pop()

    def _names(self) -> str:
        return ", ".join(self._readers)
