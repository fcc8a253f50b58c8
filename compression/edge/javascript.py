"""Tensor types as JavaScript and onnxruntime-web know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from compression.store.manifest import Datatype


class JavascriptType(NamedTuple):
    """The type's name for `new ort.Tensor(…)`, and the array that holds its values."""

    name: str
    array: str


JAVASCRIPT_TYPES: Mapping[Datatype, JavascriptType] = {
    "BOOL": JavascriptType("bool", "Uint8Array"),
    "UINT8": JavascriptType("uint8", "Uint8Array"),
    "UINT16": JavascriptType("uint16", "Uint16Array"),
    "UINT32": JavascriptType("uint32", "Uint32Array"),
    "INT8": JavascriptType("int8", "Int8Array"),
    "INT16": JavascriptType("int16", "Int16Array"),
    "INT32": JavascriptType("int32", "Int32Array"),
    "INT64": JavascriptType("int64", "BigInt64Array"),
    "UINT64": JavascriptType("uint64", "BigUint64Array"),
    "FP32": JavascriptType("float32", "Float32Array"),
    "FP64": JavascriptType("float64", "Float64Array"),
}
"""By the store's datatype. FP16 is left out, for many browsers have no array of it, and BYTES."""
