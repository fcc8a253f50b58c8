"""Messages of ModelInfer: protobuf to arrays, arrays to protobuf. The counterpart of `codec`.

A request is answered in the form it came in: raw bytes for raw bytes, typed contents for typed
contents; FP16, for which there are no typed contents, makes an answer raw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compression.store import ModelDocument
from serve_app.errors import InvalidInputError, TooManyRowsError, UnsupportedError
from serve_app.protocol.codec import Decoded
from serve_app.protocol.contents import FIELDS, ContentsReaders, write_contents
from serve_app.protocol.inference.messages_pb2 import ModelInferRequest, ModelInferResponse
from serve_app.protocol.layouts import LAYOUTS
from serve_app.runners import Arrays
from serve_app.terms import TIMEOUT_PARAMETER, check_timeout

_CHOICE = "parameter_choice"


class ProtobufCodec:
    """Reads requests for one model and writes its answers."""

    def __init__(self, document: ModelDocument, max_rows: int) -> None:
        self._document = document
        self._inputs = ContentsReaders(document.inputs)
        self._max_rows = max_rows
        self._routing_key = document.routing_key
        self._datatypes = {spec.name: spec.datatype for spec in document.outputs}
        self._all_outputs = tuple(self._datatypes)

    def decode(self, request: ModelInferRequest, key: str | None = None) -> Decoded:
        """Read a request; `key` is the routing key where its parameters have none.

        Raises:
            MalformedRequestError: raw contents are not one for each input, or not instead of typed.
            InvalidInputError: an input or output is not the model's.
            TooManyRowsError: more rows than `max_rows`.
            UnsupportedError: it asks for shared memory or for classes.
            InvalidTimeoutError: the parameter `timeout_seconds` is not a number above 0.
        """
        outputs = self._wanted(request)
        inputs, rows = self._inputs.read(request)
        if rows > self._max_rows:
            raise TooManyRowsError(f"{rows} rows given, at most {self._max_rows} are expected")
        given = parameter(request, self._routing_key)
        limit = parameter(request, TIMEOUT_PARAMETER)
        timeout = None if limit is None else check_timeout(limit, TIMEOUT_PARAMETER)
        return Decoded(
            inputs, rows, outputs, given or key, request.id or None, timeout_seconds=timeout
        )

    def encode(
        self,
        outputs: Arrays,
        wanted: Sequence[str],
        variant: str,
        parameters: Mapping[str, str | int],
        request: ModelInferRequest,
    ) -> ModelInferResponse:
        """Write an answer of `variant` to `request`."""
        response = ModelInferResponse(
            model_name=self._document.name, model_version=variant, id=request.id
        )
        for key, value in parameters.items():
            if isinstance(value, str):
                response.parameters[key].string_param = value
            else:
                response.parameters[key].int64_param = value
        raw = bool(request.raw_input_contents) or any(
            self._datatypes[name] not in FIELDS for name in wanted
        )
        for name in wanted:
            array, datatype = outputs[name], self._datatypes[name]
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                response.raw_output_contents.append(LAYOUTS[datatype].write(array))
            else:
                tensor.contents.CopyFrom(write_contents(array, datatype))
        return response

    def _wanted(self, request: ModelInferRequest) -> Sequence[str]:
        if not request.outputs:
            return self._all_outputs
        for output in request.outputs:
            if output.name not in self._datatypes:
                raise InvalidInputError(
                    f"output {output.name!r}: unknown, expected {', '.join(self._all_outputs)}"
                )
            for unsupported in ("shared_memory_region", "classification"):
                if unsupported in output.parameters:
                    raise UnsupportedError(
                        f"output {output.name!r}: {unsupported} is not offered, leave it out"
                    )
        return tuple(output.name for output in request.outputs)


def parameter(request: ModelInferRequest, name: str) -> str | None:
    """A parameter's value as text, None where it is not set."""
    # Reading a key that is missing would add it to the map.
    if name not in request.parameters:
        return None
    given: Any = request.parameters[name]
    choice = given.WhichOneof(_CHOICE)
    return None if choice is None else str(getattr(given, choice))
