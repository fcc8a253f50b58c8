"""Which outputs a request asks for, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError, MalformedRequestError, UnsupportedError
from serve_app.protocol.messages import InferRequest, Parameters

_BINARY, _BINARY_ALL = "binary_data", "binary_data_output"
_NOT_OFFERED = ("shared_memory_region", "classification")


class Choice(NamedTuple):
    """Names of outputs in the order asked for, and those of them that go as bytes."""

    names: Sequence[str]
    binary: Sequence[str]


class OutputsReader:
    """Reads `outputs` of a request for one model; none named means all of them."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.all = tuple(spec.name for spec in specs)
        self._all_in_json = Choice(self.all, ())

    def read(self, request: InferRequest) -> Choice:
        """What an output says of itself wins over what the request says of all.

        Raises:
            InvalidInputError: an output is unknown, or named twice.
            MalformedRequestError: a form is neither true nor false.
            UnsupportedError: an output is wanted in shared memory, or as classes.
        """
        in_binary = request.parameters is not None and _flag(
            request.parameters, _BINARY_ALL, False, "parameters"
        )
        if not request.outputs:
            return Choice(self.all, self.all) if in_binary else self._all_in_json
        names: list[str] = []
        binary: list[str] = []
        for output in request.outputs:
            name = output.name
            if name not in self.all:
                expected = ", ".join(self.all)
                raise InvalidInputError(f"output {name[:80]!r}: unknown, expected {expected}")
            if name in names:
                raise InvalidInputError(f"output {name!r}: asked for twice")
            names.append(name)
            if self._as_bytes(name, output.parameters, in_binary):
                binary.append(name)
        return Choice(tuple(names), tuple(binary))

    def _as_bytes(self, name: str, parameters: Parameters | None, default: bool) -> bool:
        if not parameters:
            return default
        for key in _NOT_OFFERED:
            if key in parameters:
                raise UnsupportedError(f"output {name!r}: {key} is not offered")
        return _flag(parameters, _BINARY, default, f"output {name!r}")


def _flag(parameters: Parameters, key: str, default: bool, where: str) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        given = repr(value)[:40]
        raise MalformedRequestError(f"{where}: {key}: expected true or false, given {given}")
    return value
