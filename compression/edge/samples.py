"""Held-out requests with the server's answers, as an app can read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.edge.document import EdgeRequest, EdgeSamples
from compression.errors import ExportError
from compression.store.manifest import Decision

Arrays = Mapping[str, npt.NDArray[Any]]

_EXACT_INTEGER = 2**53
"""JSON's numbers are JavaScript's, and those are exact up to here."""


def edge_samples(rows: Sequence[Arrays], answers: Sequence[Arrays], decision: Decision) -> bytes:
    """Content of `samples.json`; `rows` are inputs and `answers` outputs of one row each.

    Every value comes back bit for bit when it is read into an array of its own type.

    Raises:
        ExportError: a value that JSON cannot hold.
    """
    requests = tuple(
        EdgeRequest(
            inputs={name: _plain(name, array) for name, array in inputs.items()},
            outputs={name: _plain(name, array) for name, array in outputs.items()},
            alert=_alert(outputs[decision.output], decision.threshold),
        )
        for inputs, outputs in zip(rows, answers, strict=True)
    )
    return EdgeSamples(requests=requests).model_dump_json().encode() + b"\n"


def _alert(scores: npt.NDArray[Any], threshold: float) -> bool | None:
    return bool(scores.item() >= threshold) if scores.size == 1 else None


def _plain(name: str, array: npt.NDArray[Any]) -> tuple[Any, ...]:
    whole = array.dtype.kind in "iu"
    exact = (array <= _EXACT_INTEGER) & (array >= -_EXACT_INTEGER)
    held = exact if whole else np.isfinite(array)
    if not np.all(held):
        raise ExportError(
            f"a sample's {name!r} holds {array[~held].flat[0]}, which JSON cannot: export fewer "
            "rows with --samples, or publish other samples"
        )
    return tuple(array.ravel().tolist())
