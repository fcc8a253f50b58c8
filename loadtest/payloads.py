"""Request bodies of the Open Inference Protocol v2, encoded before the clock starts.

Every body holds real held-out rows and the routing key of its first row. Encoding while sending
would cost the generator more than the sending itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from loadtest.errors import OptionError
from loadtest.store import Model, Samples, Tensor


def infer_path(model: str, variant: str) -> str:
    """URL path that pins `variant`, or the routed one where it is empty."""
    pinned = f"/versions/{quote(variant, safe='')}" if variant else ""
    return f"/v2/models/{quote(model, safe='')}{pinned}/infer"


def flat(array: npt.NDArray[Any]) -> list[Any]:
    """Row-major values as JSON numbers; FP32 and FP16 in their shortest decimal form.

    float32 0.1 becomes 0.1, as a client would write it, and not 0.10000000149011612.
    """
    if array.dtype in (np.dtype(np.float32), np.dtype(np.float16)):
        return [float(text) for text in array.ravel().astype(np.str_)]
    return list(array.ravel().tolist())


def body(model: Model, samples: Samples, start: int, rows: int) -> bytes:
    """One request of `rows` rows from row `start` on, wrapping around at the end."""
    index = np.arange(start, start + rows) % len(samples)
    document = {
        "id": str(start),
        "parameters": {model.routing_key: str(samples.routing_keys[index[0]])},
        "inputs": [_input(tensor, samples.inputs[tensor.name][index]) for tensor in model.inputs],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def binary_body(
    model: Model, samples: Samples, start: int, rows: int
) -> tuple[bytes, dict[str, str]]:
    """The same request with binary tensors, in and out, and the headers that belong to it."""
    index = np.arange(start, start + rows) % len(samples)
    blobs = {
        tensor.name: np.ascontiguousarray(samples.inputs[tensor.name][index])
        for tensor in model.inputs
    }
    head = {
        "id": str(start),
        "parameters": {
            model.routing_key: str(samples.routing_keys[index[0]]),
            "binary_data_output": True,
        },
        "inputs": [_binary_input(tensor, blobs[tensor.name]) for tensor in model.inputs],
    }
    encoded = json.dumps(head, separators=(",", ":")).encode()
    # Little-endian, as the protocol wants it whatever this machine is.
    content = b"".join(
        blob.astype(blob.dtype.newbyteorder("<")).tobytes() for blob in blobs.values()
    )
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(encoded)),
    }
    return encoded + content, headers


def _binary_input(tensor: Tensor, array: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(array.shape),
        "datatype": tensor.datatype,
        "parameters": {"binary_data_size": array.nbytes},
    }


def _input(tensor: Tensor, array: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(array.shape),
        "datatype": tensor.datatype,
        "data": flat(array),
    }


def bodies(
    model: Model, samples: Samples, *, rows: int = 1, limit: int = 1024, seed: int = 0
) -> Sequence[bytes]:
    """Up to `limit` bodies of `rows` rows each, in an order drawn from `seed`.

    Raises:
        OptionError: `rows` or `limit` is below 1.
    """
    if rows < 1 or limit < 1:
        raise OptionError(f"rows and limit must be at least 1, got {rows} and {limit}")
    starts = np.arange(0, len(samples), rows)
    order = np.random.default_rng(seed).permutation(starts)[:limit]
    return [body(model, samples, int(start), rows) for start in order]
