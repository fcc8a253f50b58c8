"""Bodies of POST …/score: rows by the names of the model's inputs and features.

    {"rows": [{"transaction": {"log_amount": 3.1, …}, "history": [{…}, …]}], "customer_id": "c1"}

An input whose features have names is an object by these names or an array in their order; any
other is nested like its shape. Where a model has one input only, its features are the row's own
fields, and a row may be the plain array. Beside `rows` may stand the routing key under the model's
name for it, and `variant`, which pins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import astuple

from compression.store import ModelDocument, TensorSpec
from compression.store.manifest import is_feature
from serve_app.errors import InvalidInputError, MalformedRequestError, TooManyRowsError
from serve_app.protocol.codec import Decoded
from serve_app.protocol.fields import Field, Values, struct
from serve_app.protocol.mistakes import explain

ROWS, VARIANT = "rows", "variant"
_KEY = "key"
"""Attribute of the routing key, whatever its name in the body."""


def key_field(document: ModelDocument) -> str | None:
    """The request's field of the routing key; None where it cannot have one: use the header."""
    name = document.routing_key
    return name if is_feature(name) and name not in (ROWS, VARIANT) else None


def fields_are_the_rows(inputs: Sequence[TensorSpec]) -> bool:
    """Whether the fields of a row are one input's features, and not the inputs."""
    return len(inputs) == 1 and inputs[0].features is not None and len(inputs[0].shape) == 2


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to score, and the variant that its body names, if it does."""

    decoded: Decoded
    pin: str | None


class _ManyInputs:
    """A row is an object by the names of the inputs."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.fields = [Field(spec) for spec in specs]
        self.type: Any = struct("row", {field.name: field.type for field in self.fields})
        self.names = {"": [field.name for field in self.fields]} | {
            field.name: field.features for field in self.fields if field.features
        }

    def values(self, rows: Values) -> list[Values]:
        """Each input's values."""
        return [list(values) for values in zip(*map(astuple, rows), strict=True)]


class _OneInput:
    """A row is the input itself; without fields of its own it may be an object with it alone."""

    def __init__(self, spec: TensorSpec) -> None:
        self._wrapped = not fields_are_the_rows((spec,))
        field = Field(spec, apart=not self._wrapped)
        self.fields = [field]
        self.type: Any = field.type
        self.names: dict[str, Sequence[str]] = {"": field.features or ()}
        if self._wrapped:
            self.type |= struct("row", {field.name: field.type})
            self.names = {"": [field.name], field.name: field.features or ()}

    def values(self, rows: Values) -> list[Values]:
        """The input's values."""
        if not self._wrapped:
            return [rows]
        return [[astuple(row)[0] if isinstance(row, msgspec.Struct) else row for row in rows]]


class RowsReader:
    """Reads requests to score for one model."""

    def __init__(self, document: ModelDocument, max_rows: int) -> None:
        specs = document.inputs
        self._form = _OneInput(specs[0]) if len(specs) == 1 else _ManyInputs(specs)
        self._max_rows = max_rows
        self._decode = msgspec.json.Decoder(_request(self._form.type, key_field(document))).decode
        self._names = [*filter(None, (ROWS, VARIANT, key_field(document)))]

    def read(self, body: bytes, key: str | None = None) -> Asked:
        """Read a request; `key` is the routing key where the body has none.

        Raises:
            MalformedRequestError: not JSON.
            InvalidInputError: a field is unknown, missing or not what the model takes; names the
                row, the field, what was expected and what was given.
            TooManyRowsError: more rows than `max_rows`.
        """
        request = self._parse(body)
        count = len(request.rows)
        if count == 0:
            raise InvalidInputError("rows: expected at least one row, given none")
        if count > self._max_rows:
            raise TooManyRowsError(f"{count} rows given, at most {self._max_rows} are expected")
        values = self._form.values(request.rows)
        fields = zip(self._form.fields, values, strict=True)
        inputs = {field.name: field.array(given) for field, given in fields}
        given_key = getattr(request, _KEY, None)
        key = key if given_key is None else str(given_key)
        return Asked(Decoded(inputs, count, (), key, None), request.variant)

    def _parse(self, body: bytes) -> Any:
        if not body:
            raise MalformedRequestError("the body is empty, expected a JSON object with rows")
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            what = explain(error, body, self._names, self._form.names)
            raise InvalidInputError(what) from error
        except msgspec.DecodeError as error:
            raise MalformedRequestError(f"the body is not JSON: {error}") from error
        except UnicodeDecodeError as error:
            raise MalformedRequestError(f"the body is not UTF-8: {error.reason}") from error
        except RecursionError as error:
            raise MalformedRequestError("the body is nested too deeply") from error


def _request(row: Any, key: str | None) -> type[msgspec.Struct]:
    """The body's type; `key` is the name of the routing key's field, if it has one."""
    members: list[tuple[str, Any, Any]] = [
        (ROWS, list[row], msgspec.field()),
        (VARIANT, str | None, msgspec.field(default=None)),
    ]
    if key is not None:
        members.append((_KEY, str | int | None, msgspec.field(default=None, name=key)))
    return msgspec.defstruct("request", members, forbid_unknown_fields=True, gc=False)
