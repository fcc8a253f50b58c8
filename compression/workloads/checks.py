"""Does a class, and then its instance, offer what the workload protocol says?

Ours do, by their tests; of a user's class it is asked before it costs anybody an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import BaseModel

from compression.errors import RecipeError
from compression.workloads.base import WINDOWS, Workload

EXAMPLE_ROWS = 3
_MODELS = ("settings_type", "student_type")
_CLASS_MEMBERS = (
    "name", "data_sha256", "gather", "original_sha256", "original", "decision_threshold", "student",
    "shipped", "routing_keys", "describe", "baseline_outputs", "baseline_name",
    "baseline_description",
)  # fmt: skip
_ATTRIBUTES = ("inputs", "outputs", "head", "labels", "groups", "days", *WINDOWS)


def check_class(kind: type, where: str) -> type[Workload]:
    """The class as a workload; everything that is missing is said at once. No data is read.

    Raises:
        RecipeError: names `where`, and each member that is missing or not what it must be.
    """
    wrong = [f"{name} is missing" for name in _CLASS_MEMBERS if not hasattr(kind, name)]
    abstract: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    wrong += [f"{name} is missing" for name in sorted(abstract)]
    wrong += [text for name in _MODELS for text in _not_a_model(getattr(kind, name, None), name)]
    if wrong:
        raise RecipeError(
            f"workload {where} is no workload: {'; '.join(wrong)}. "
            "compression/workloads/base.py describes the members; deriving from Workload, "
            "TrainableWorkload or TableWorkload gives most of them"
        )
    return kind


def _not_a_model(model: object, name: str) -> Iterator[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        yield f"{name} must be a pydantic model, it is {model!r}"
    elif model.model_config.get("extra") != "forbid":
        yield (
            f"{name} ({model.__name__}) must refuse unknown keys: "
            'model_config = ConfigDict(frozen=True, extra="forbid")'
        )


def check_workload(workload: Workload) -> None:
    """What an opened workload holds: shapes, dtypes, windows, a few rows of inputs.

    Raises:
        RecipeError: names the member, what was expected and what it is.
    """
    wrong = [f"{name} is missing" for name in _ATTRIBUTES if not hasattr(workload, name)]
    wrong = wrong or [*_wrong_columns(workload), *_wrong_windows(workload)]
    # Rows can be asked for only where windows are right.
    wrong = wrong or list(_wrong_inputs(workload))
    if wrong:
        kind = type(workload)
        raise RecipeError(
            f"workload {kind.__name__}: {'; '.join(wrong)}. compression/workloads/base.py "
            "describes the members"
        )


def _wrong_columns(workload: Workload) -> Iterator[str]:
    rows = len(workload.labels)
    for name in ("groups", "days"):
        array: Any = getattr(workload, name)
        if not isinstance(array, np.ndarray) or array.dtype != np.int32 or array.shape != (rows,):
            yield f"{name} must be int32[{rows}], one for each label; it is {_kind_of(array)}"


def _wrong_windows(workload: Workload) -> Iterator[str]:
    windows = {name: getattr(workload, name) for name in WINDOWS}
    rows = len(workload.labels)
    for name, window in windows.items():
        if not isinstance(window, np.ndarray) or window.dtype != np.int64 or window.ndim != 1:
            yield f"{name} must be int64[·] of row numbers; it is {_kind_of(window)}"
        elif len(window) < EXAMPLE_ROWS:
            yield f"{name} has {len(window)} rows: at least {EXAMPLE_ROWS} are needed"
        elif window.min() < 0 or window.max() >= rows or (np.diff(window) <= 0).any():
            yield f"{name} must hold rising row numbers from 0 to {rows - 1}"
    for (one, first), (other, second) in combinations(windows.items(), 2):
        shared = len(np.intersect1d(first, second))
        if shared:
            yield f"{one} and {other} share {shared} rows: what trains must not judge"


def _wrong_inputs(workload: Workload) -> Iterator[str]:
    rows = workload.validation[:EXAMPLE_ROWS]
    given = workload.gather(rows)
    expected = [spec.name for spec in workload.inputs]
    if list(given) != expected:
        yield f"gather gives {list(given)}; `inputs` says {expected}, in this order"
        return
    for spec in workload.inputs:
        array, shape = given[spec.name], (len(rows), *spec.shape[1:])
        if array.dtype != np.float32 or array.shape != shape:
            yield f"gather: {spec.name} must be float32{list(shape)}; it is {_kind_of(array)}"
    if workload.routing_keys(rows).shape != rows.shape:
        yield f"routing_keys of {len(rows)} rows must be as many keys"


def _kind_of(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__
