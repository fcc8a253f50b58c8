"""Requests of the protocol in any form: each input in JSON or in bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.store import ModelDocument, TensorSpec
from serve_app.protocol.layouts import DTYPES, LAYOUTS
from tests.support.store import make_document

DTYPE_NAMES = {
    np.dtype(dtype): name for name, dtype in DTYPES.items() if name not in ("BOOL", "BYTES")
}


def document(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> ModelDocument:
    """The tiny model with other inputs and outputs."""
    made = make_document()
    return made.model_copy(update={"inputs": inputs, "outputs": outputs or made.outputs})


def datatype(array: npt.NDArray[Any]) -> str:
    """As the protocol calls it."""
    if array.dtype == np.bool_:
        return "BOOL"
    return DTYPE_NAMES.get(array.dtype, "BYTES")


def mixed(
    inputs: Mapping[str, npt.NDArray[Any]], in_bytes: Collection[str], pad: int = 0, **more: Any
) -> tuple[bytes, int]:
    """A body whose inputs in `in_bytes` follow the JSON, and how many bytes are JSON.

    `pad` spaces end the JSON, so that the bytes lie elsewhere.
    """
    tensors: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in inputs.items():
        tensor: dict[str, Any] = {
            "name": name, "shape": list(array.shape), "datatype": datatype(array),
        }  # fmt: skip
        if name in in_bytes:
            blobs.append(LAYOUTS[tensor["datatype"]].write(array))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    head = json.dumps({"inputs": tensors, **more}).encode() + b" " * pad
    return head + b"".join(blobs), len(head)
