"""Calibration sets: the rows on which activation ranges are measured.

By name, drawn from the workload's windows, or a file `path.npz` with one array for each model
input, of as many rows each. Every set is checked before it is used: it must not be empty, must
have the model's inputs, shapes and datatypes, only finite numbers, and lie where the training
window lies (see `drift`).
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.errors import DataError
from compression.quantisation.drift import drifts
from compression.store.manifest import TensorSpec
from compression.training.rows import Inputs
from compression.workloads.base import Rows, Workload

REFERENCE_ROWS = 4096
"""Rows of the training window that a set is compared with."""
RECENT_PART = 5
"""`recent` draws from the latest fifth of the training window."""
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class CalibrationSet:
    """A checked set: arrays by input name, batch first, all of `len(set)` rows."""

    name: str
    inputs: Inputs
    sha256: str | None = None
    """Of the file it was read from."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def head(self, rows: int) -> Inputs:
        """The first rows."""
        return {name: array[:rows] for name, array in self.inputs.items()}

    def batches(self, rows: int = 32) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """All rows in order, a few at a time."""
        for start in range(0, len(self), rows):
            yield {name: array[start : start + rows] for name, array in self.inputs.items()}


def _drawn(window: Rows, rows: int, seed: int) -> Rows:
    return np.random.default_rng(seed).choice(window, min(rows, len(window)), replace=False)


def _train(workload: Workload, rows: int, seed: int) -> Rows:
    return _drawn(workload.train, rows, seed)


def _validation(workload: Workload, rows: int, seed: int) -> Rows:
    return _drawn(workload.validation, rows, seed)


def _recent(workload: Workload, rows: int, seed: int) -> Rows:
    order = np.argsort(workload.days[workload.train], kind="stable")
    # The very last rows are all of one hour, and off the distribution for that alone.
    latest = workload.train[order[-max(rows, len(order) // RECENT_PART) :]]
    return _drawn(latest, rows, seed)


NAMED: Mapping[str, Callable[[Workload, int, int], Rows]] = MappingProxyType(
    {"train": _train, "validation": _validation, "recent": _recent}
)
"""Sets by name: drawn from the training window, from the validation window, or from the latest part
of the training window."""


def calibration_set(
    workload: Workload,
    source: str | Path,
    rows: int,
    seed: int,
    max_drift: float | None,
) -> CalibrationSet:
    """The set of that name, or of that file, of at most `rows` rows; checked.

    `max_drift` bounds the population stability index of every feature, None leaves that check out.

    Raises:
        DataError: names the set, the input, what is expected and what was given.
    """
    if isinstance(source, Path):
        arrays = _read(source, workload.inputs, rows)
        given = CalibrationSet(source.name, arrays, file_sha256(source))
    else:
        given = CalibrationSet(source, workload.gather(NAMED[source](workload, rows, seed)))
    _check(given, workload.inputs)
    if max_drift is not None:
        reference = _drawn(workload.train, REFERENCE_ROWS, seed + 1)
        _check_drift(given, workload.gather(reference), max_drift)
    return given


def file_sha256(path: Path) -> str:
    """Hash of a file's content, hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path, inputs: tuple[TensorSpec, ...], rows: int) -> Inputs:
    names = [spec.name for spec in inputs]
    try:
        archive = np.load(path, allow_pickle=False)
        # A lone .npy under that name is an array.
        arrays = {} if isinstance(archive, np.ndarray) else {n: archive[n] for n in archive.files}
    except _UNREADABLE as error:
        raise DataError(
            f"calibration set {path} cannot be read: {error}; expected a .npz of plain arrays "
            f"named {', '.join(names)}"
        ) from error
    if set(arrays) != set(names):
        raise DataError(
            f"calibration set {path} has the arrays {', '.join(sorted(arrays)) or 'none'}; "
            f"expected one for each model input: {', '.join(names)}"
        )
    return {name: arrays[name][:rows] for name in names}


def _check(given: CalibrationSet, inputs: tuple[TensorSpec, ...]) -> None:
    where = f"calibration set {given.name}"
    for spec in inputs:
        array, wanted = given.inputs[spec.name], tuple(spec.shape[1:])
        fits = array.ndim == len(spec.shape) and all(
            size in (-1, there) for size, there in zip(wanted, array.shape[1:], strict=True)
        )
        if not fits or array.dtype != np.float32:
            raise DataError(
                f"{where}: input {spec.name!r} is {array.dtype} of shape {array.shape}; expected "
                f"float32 of shape (rows, {', '.join(map(str, wanted))})"
            )
        if len(array) != len(given):
            raise DataError(
                f"{where}: input {spec.name!r} has {len(array)} rows, the first input has "
                f"{len(given)}: one row each"
            )
        if len(array) == 0:
            raise DataError(
                f"{where} is empty: ranges cannot be measured on no rows; give rows as the model "
                "is served with, some hundreds of them"
            )
        _check_finite(where, spec.name, array)


def _check_finite(where: str, name: str, array: npt.NDArray[Any]) -> None:
    broken = np.argwhere(~np.isfinite(array))
    if len(broken):
        raise DataError(
            f"{where}: input {name!r} has {len(broken)} values that are not finite, the first "
            f"in row {broken[0][0]}: leave such rows out"
        )


def _check_drift(given: CalibrationSet, reference: Inputs, max_drift: float) -> None:
    far = [drift for drift in drifts(given.inputs, reference, max_drift) if drift.too_far]
    if far:
        worst = max(far, key=lambda drift: (drift.index / drift.index_bound, drift.outside))
        others = f", and {len(far) - 1} more features" if len(far) > 1 else ""
        raise DataError(
            f"calibration set {given.name} is off the training window's distribution: {worst}"
            f"{others}. Ranges measured on it would not fit what the model is served with: give "
            "other rows (calibration: train draws them), or leave the comparison out (max_drift: "
            "null) if it is the training window that is out of date"
        )
