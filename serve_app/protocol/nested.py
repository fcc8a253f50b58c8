"""The `data` of a tensor in JSON: elements, flat or nested like the shape."""

from __future__ import annotations

from array import array as c_array
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from serve_app.protocol.layouts import DTYPES, FLOATS

_SHOWN_BYTES = 40
_C_TYPES = {"FP32": "f", "FP64": "d"}


class NestedReader:
    """Turns JSON arrays of one datatype, up to `rank` deep, into numpy arrays."""

    def __init__(self, datatype: str, rank: int) -> None:
        self._datatype = datatype
        self._dtype = np.dtype(DTYPES[datatype])
        self._c_type = _C_TYPES.get(datatype)
        kind: Any = element(datatype)
        self._decoders = []
        for _ in range(max(1, rank)):
            kind = list[kind]
            self._decoders.append(msgspec.json.Decoder(kind).decode)

    def read(self, raw: bytes) -> npt.NDArray[Any]:
        """The array as it is nested, of the datatype's dtype; floats too large are infinite.

        Raises:
            ValueError: what was expected, and what was given.
        """
        depth = _depth(raw)
        if not 1 <= depth <= len(self._decoders):
            shown = raw[:_SHOWN_BYTES].decode(errors="replace")
            raise ValueError(f"expected a flat array or one nested like shape, given {shown}")
        try:
            values = self._decoders[depth - 1](raw)
            if depth == 1 and self._c_type is not None:
                # As fast as numpy, and infinities need no `errstate`, which is half of the rest.
                return np.frombuffer(c_array(self._c_type, values), self._dtype)
            with np.errstate(over="ignore"):
                array = np.array(values, dtype=self._dtype)
        except msgspec.DecodeError as error:
            raise ValueError(f"expected {self._datatype} values, given {error}") from error
        except (ValueError, OverflowError) as error:
            raise ValueError(f"expected an array of {self._datatype}, given {error}") from error
        if self._dtype.hasobject and not all(type(text) is str for text in array.ravel()):
            # Lists of unequal length are objects to numpy.
            raise ValueError(f"expected an array of {self._datatype}, given ragged lists")
        return array


def element(datatype: str) -> Any:
    """The Python type of one element, for msgspec."""
    if datatype in FLOATS:
        return float
    return {"BOOL": bool, "BYTES": str}.get(datatype, int)


def _depth(raw: bytes) -> int:
    """How many brackets the JSON opens with: how deep the array is nested."""
    depth = 0
    for byte in raw:
        if byte == 0x5B:
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth
