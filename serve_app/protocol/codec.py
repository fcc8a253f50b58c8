"""Bodies of POST …/infer: bytes to arrays, arrays to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy.typing as npt

from compression.store import ModelDocument
from serve_app.errors import (
    InvalidInputError,
    MalformedRequestError,
    TooManyRowsError,
    UnsupportedError,
)
from serve_app.protocol.messages import (
    InferRequest,
    InferResponse,
    OutputTensor,
    Parameters,
    decode_request,
    encode,
)
from serve_app.protocol.tensors import InputsReader
from serve_app.runners import Arrays

_BINARY = "binary output is not supported, ask for JSON (tritonclient: binary_data=False)"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request that can be computed. `outputs` are the names asked for, in their order."""

    inputs: dict[str, npt.NDArray[Any]]
    rows: int
    outputs: Sequence[str]
    key: str | None
    id: str | None


class Codec:
    """Reads requests for one model and writes its answers."""

    def __init__(self, document: ModelDocument, max_rows: int) -> None:
        self._document = document
        self._inputs = InputsReader(document.inputs)
        self._max_rows = max_rows
        self._routing_key = document.routing_key
        self._datatypes = {spec.name: spec.datatype for spec in document.outputs}
        self._all_outputs = tuple(self._datatypes)

    def decode(self, body: bytes, key: str | None = None) -> Decoded:
        """Read a request; `key` is the routing key where the body has none.

        Raises:
            MalformedRequestError: not JSON, or not the protocol's structure.
            InvalidInputError: an input or output is not the model's.
            TooManyRowsError: more rows than `max_rows`.
            UnsupportedError: it asks for the binary extension.
        """
        if not body:
            raise MalformedRequestError("the body is empty, expected a JSON object with inputs")
        try:
            request = decode_request(body)
        except msgspec.DecodeError as error:
            raise MalformedRequestError(f"the body is not a request: {error}") from error
        except UnicodeDecodeError as error:
            raise MalformedRequestError(f"the body is not UTF-8: {error.reason}") from error
        outputs = self._wanted(request)
        inputs, rows = self._inputs.read(request.inputs)
        if rows > self._max_rows:
            raise TooManyRowsError(f"{rows} rows given, at most {self._max_rows} are expected")
        return Decoded(inputs, rows, outputs, self._key(request.parameters, key), request.id)

    def encode(
        self,
        outputs: Arrays,
        wanted: Sequence[str],
        variant: str,
        parameters: dict[str, str | int],
        request_id: str | None,
    ) -> bytes:
        """Write an answer of `variant`."""
        tensors = [
            OutputTensor(
                name, self._datatypes[name], list(outputs[name].shape),
                outputs[name].ravel().tolist(),
            )
            for name in wanted
        ]  # fmt: skip
        return encode(InferResponse(self._document.name, variant, tensors, parameters, request_id))

    def _wanted(self, request: InferRequest) -> Sequence[str]:
        if request.parameters and request.parameters.get("binary_data_output"):
            raise UnsupportedError(_BINARY)
        if not request.outputs:
            return self._all_outputs
        for output in request.outputs:
            if output.name not in self._datatypes:
                raise InvalidInputError(
                    f"output {output.name!r}: unknown, expected {', '.join(self._all_outputs)}"
                )
            if output.parameters and output.parameters.get("binary_data"):
                raise UnsupportedError(f"output {output.name!r}: {_BINARY}")
        return tuple(output.name for output in request.outputs)

    def _key(self, parameters: Parameters | None, fallback: str | None) -> str | None:
        value = parameters.get(self._routing_key) if parameters else None
        return fallback if value is None else str(value)
