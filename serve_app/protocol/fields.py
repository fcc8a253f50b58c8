"""One input of a model as it stands in a row: plain arrays, or objects by the features' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from compression.store import TensorSpec
from serve_app.errors import InvalidInputError
from serve_app.protocol.layouts import DTYPES, FLOATS
from serve_app.protocol.nested import element

Values = list[Any]
"""An input's decoded value of each row, see `Field.type`."""


class Field:
    """Turns the values that a request's rows give for one input into one array."""

    def __init__(self, spec: TensorSpec, *, apart: bool = False) -> None:
        """`apart`: the features are the row's own fields: messages leave the input's name out."""
        self.name = spec.name
        self.features = spec.features
        self._apart = apart
        self._datatype = spec.datatype
        self._dtype = np.dtype(DTYPES[spec.datatype])
        self._sizes = spec.shape[1:]
        kind: Any = element(spec.datatype)
        self.named: type[msgspec.Struct] | None = None
        if self.features is not None:
            self.named = struct(spec.name, dict.fromkeys(self.features, kind))
        last: Any = None
        for size in reversed(self._sizes):
            kind = tuple[(kind,) * size] if size >= 0 else tuple[kind, ...]  # type: ignore[misc]
            if last is None and self.named is not None:
                kind |= self.named
            last = kind
        self.type: Any = kind
        """What msgspec decodes one row's value to: a number, or tuples nested like the shape, the
        innermost of which may be structs by the features' names."""

    def array(self, values: Values) -> npt.NDArray[Any]:
        """The values of n rows as an array [n, …] of the model's dtype.

        Raises:
            InvalidInputError: rows differ in a variable dimension, or a number is beyond the
                datatype's range; names row and place.
        """
        shape = self._shape(values)
        flat = self._flat(values)
        count = 1
        for size in shape:
            count *= size
        try:
            with np.errstate(over="ignore"):
                array = np.fromiter(flat, self._dtype, count)
        except OverflowError:
            raise self._out_of_range(values, shape, self._misfit_integer) from None
        if self._datatype in FLOATS and not np.isfinite(array).all():
            raise self._out_of_range(values, shape, self._misfit_float)
        return array.reshape(shape)

    def _flat(self, values: Values) -> Iterator[Any]:
        """All elements, row-major."""
        level: Iterator[Any] = iter(values)
        for _ in self._sizes[:-1]:
            level = chain.from_iterable(level)
        if not self._sizes:
            return level
        if self.named is not None:
            level = (part if type(part) is tuple else astuple(part) for part in level)
        return chain.from_iterable(level)

    def _shape(self, values: Values) -> tuple[int, ...]:
        if -1 not in self._sizes:
            return (len(values), *self._sizes)
        shape, level = [len(values)], list(values)
        for axis, size in enumerate(self._sizes):
            shape.append(size if size >= 0 else self._common_length(level, axis))
            if axis + 1 < len(self._sizes):
                level = list(chain.from_iterable(level))
        return tuple(shape)

    def _common_length(self, level: Sequence[Any], axis: int) -> int:
        lengths = {len(part) for part in level}
        if len(lengths) != 1 or 0 in lengths:
            raise InvalidInputError(
                f"rows: {self.name}: dimension {axis + 1} must have the same length, at least 1, "
                f"in all rows of a request, given {', '.join(map(str, sorted(lengths)))}"
            )
        return lengths.pop()

    def _misfit_integer(self, value: Any) -> bool:
        range_ = np.iinfo(self._dtype)
        return not range_.min <= value <= range_.max

    def _misfit_float(self, value: Any) -> bool:
        with np.errstate(over="ignore"):
            return not np.isfinite(self._dtype.type(value))

    def _out_of_range(
        self, values: Values, shape: tuple[int, ...], misfit: Callable[[Any], bool]
    ) -> InvalidInputError:
        """The first element that does not fit; looked for only once one is known not to."""
        for index, value in enumerate(self._flat(values)):
            if misfit(value):
                row, *places = (int(place) for place in np.unravel_index(index, shape))
                return InvalidInputError(
                    f"row {row}: {self._place(places)}: expected {self._datatype}, "
                    f"given {value:g}, which is beyond its range"
                )
        raise AssertionError(f"{self.name}: all elements fit {self._datatype}")

    def _place(self, places: Sequence[int]) -> str:
        """As in a message: history[3].log_amount."""
        parts = [] if self._apart else [self.name]
        if self.features is None:
            return "".join([self.name, *(f"[{place}]" for place in places)])
        parts += [f"[{place}]" for place in places[:-1]]
        feature = self.features[places[-1]]
        return "".join(parts) + (f".{feature}" if parts else feature)


def by_name(features: Sequence[str], value: Any) -> Any:
    """Nested lists whose innermost ones become objects by the features' names."""
    if isinstance(value[0], list):
        return [by_name(features, part) for part in value]
    return dict(zip(features, value, strict=True))


def struct(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    """An object with these fields and no others. A field's name may be any that JSON can have."""
    members = [
        (f"f{index}", kind, msgspec.field(name=field))
        for index, (field, kind) in enumerate(fields.items())
    ]
    return msgspec.defstruct(name, members, forbid_unknown_fields=True, gc=False)
