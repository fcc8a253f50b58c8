"""Bodies of POST …/infer: bytes to arrays, arrays to bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy.typing as npt

from compression.store import ModelDocument
from serve_app.errors import MalformedRequestError, TooManyRowsError
from serve_app.protocol.binary import NO_BLOBS, SIZE, Blobs
from serve_app.protocol.choice import OutputsReader
from serve_app.protocol.layouts import LAYOUTS
from serve_app.protocol.messages import (
    BinaryOutput,
    InferRequest,
    InferResponse,
    OutputTensor,
    Parameters,
    decode_request,
    encode,
)
from serve_app.protocol.tensors import InputsReader
from serve_app.runners import Arrays
from serve_app.terms import check_timeout_parameter


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A request that can be computed. `outputs` are the names asked for, in their order; those
    in `binary` are to be answered in bytes."""

    inputs: dict[str, npt.NDArray[Any]]
    rows: int
    outputs: Sequence[str]
    key: str | None
    id: str | None
    binary: Collection[str] = ()
    timeout_seconds: float | None = None


class Codec:
    """Reads requests for one model and writes its answers."""

    def __init__(self, document: ModelDocument, max_rows: int) -> None:
        self._name = document.name
        self._inputs = InputsReader(document.inputs)
        self._outputs = OutputsReader(document.outputs)
        self._max_rows = max_rows
        self._routing_key = document.routing_key
        self._datatypes = {spec.name: spec.datatype for spec in document.outputs}

    def decode(self, body: bytes, key: str | None = None, json_bytes: int | None = None) -> Decoded:
        """Read a request; `key` is the routing key where the body has none.

        `json_bytes` is how much of the body is JSON; None: all of it; 0: it is one raw input.

        Raises:
            MalformedRequestError: not JSON, or not the protocol's structure.
            InvalidInputError: an input or output is not the model's.
            TooManyRowsError: more rows than `max_rows`.
            UnsupportedError: it asks for an extension that is not offered.
            InvalidTimeoutError: the parameter `timeout_seconds` is not a number above 0.
        """
        if json_bytes is None:
            if not body:
                raise MalformedRequestError("the body is empty, expected a JSON object with inputs")
            return self._decode(_parse(body), key, NO_BLOBS)
        if json_bytes == 0:
            return self._decode_raw(body, key)
        blobs = Blobs(body, json_bytes)
        decoded = self._decode(_parse(memoryview(body)[:json_bytes]), key, blobs)
        blobs.finish()
        return decoded

    def encode(
        self,
        outputs: Arrays,
        wanted: Sequence[str],
        variant: str,
        parameters: dict[str, str | int],
        request_id: str | None,
    ) -> bytes:
        """Write an answer of `variant`, all in JSON."""
        tensors = [self._in_json(name, outputs[name]) for name in wanted]
        return encode(InferResponse(self._name, variant, tensors, parameters, request_id))

    def encode_mixed(
        self,
        outputs: Arrays,
        wanted: Sequence[str],
        binary: Collection[str],
        variant: str,
        parameters: dict[str, str | int],
        request_id: str | None,
    ) -> tuple[bytes, int]:
        """Write an answer whose outputs in `binary` follow the JSON as bytes.

        Returns the body, and how many bytes of it are JSON.
        """
        tensors: list[OutputTensor | BinaryOutput] = []
        blobs: list[bytes] = []
        for name in wanted:
            array = outputs[name]
            if name not in binary:
                tensors.append(self._in_json(name, array))
                continue
            blobs.append(LAYOUTS[self._datatypes[name]].write(array))
            size = {SIZE: len(blobs[-1])}
            tensors.append(BinaryOutput(name, self._datatypes[name], list(array.shape), size))
        head = encode(InferResponse(self._name, variant, tensors, parameters, request_id))
        return b"".join((head, *blobs)), len(head)

    def _in_json(self, name: str, array: npt.NDArray[Any]) -> OutputTensor:
        return OutputTensor(name, self._datatypes[name], list(array.shape), array.ravel().tolist())

    def _decode(self, request: InferRequest, key: str | None, blobs: Blobs) -> Decoded:
        outputs, binary = self._outputs.read(request)
        inputs, rows = self._inputs.read(request.inputs, blobs)
        self._check_rows(rows)
        parameters = request.parameters
        timeout = check_timeout_parameter(parameters) if parameters else None
        key = self._key(parameters, key)
        return Decoded(inputs, rows, outputs, key, request.id, binary, timeout)

    def _decode_raw(self, body: bytes, key: str | None) -> Decoded:
        inputs, rows = self._inputs.read_raw(body)
        self._check_rows(rows)
        return Decoded(inputs, rows, self._outputs.all, key, None, self._outputs.all)

    def _check_rows(self, rows: int) -> None:
        if rows > self._max_rows:
            raise TooManyRowsError(f"{rows} rows given, at most {self._max_rows} are expected")

    def _key(self, parameters: Parameters | None, fallback: str | None) -> str | None:
        value = parameters.get(self._routing_key) if parameters else None
        return fallback if value is None else str(value)


def _parse(text: bytes | memoryview) -> InferRequest:
    try:
        return decode_request(text)
    except msgspec.DecodeError as error:
        raise MalformedRequestError(f"the body is not a request: {error}") from error
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise MalformedRequestError("the body is not a request: it is nested too deep") from error
