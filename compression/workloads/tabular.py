"""What a table's settings say, and the arrays they make of a CSV or Parquet file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, field_validator

from compression.errors import DataError
from compression.store.manifest import is_feature
from compression.validation import RecipePath
from compression.workloads.base import Floats
from compression.workloads.columns import ColumnFile
from compression.workloads.labels import HeadName, Labels, read_labels
from compression.workloads.timesplit import TimeSplit

LONGEST_DAYS = 200_000
"""Five centuries: whole numbers that span more do not count days."""


class TableConfig(BaseModel):
    """Columns and windows; derive from it to add settings of one's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: RecipePath
    """CSV or Parquet."""
    label: str
    """Column of what the model is to say."""
    time: str
    """Column of dates, or of whole numbers that count days: windows follow each other in it."""
    features: tuple[str, ...] | None = None
    """Numeric columns, in the order of the input, none twice; None takes all that are left."""
    group: str | None = None
    """Column of whom a row belongs to, e.g. a customer; None: every row is its own."""
    head: HeadName | None = None
    """None: two labels are binary, more are multi-class."""
    positive: str | None = None
    """Which of two labels means yes, where they are not 0 and 1."""
    threshold: float | None = None
    """Regression: from which value on something is done."""
    split: TimeSplit = TimeSplit()
    original: RecipePath
    """Folder where `python -m compression original` puts it, or a .safetensors file with the
    state dict of `build_original()`, trained elsewhere on features as the file has them."""

    @field_validator("features")
    @classmethod
    def _none_twice(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if doubled := sorted({name for name in names or () if (names or ()).count(name) > 1}):
            raise ValueError(f"{', '.join(doubled)} given twice")
        return names


@dataclass(frozen=True, eq=False)
class Table:
    """n rows, in the file's order."""

    features: tuple[str, ...]
    values: Floats
    """float32[n, f], finite."""
    labels: Labels
    first_day: np.datetime64 | None
    """None where the column of time counts days."""
    days: npt.NDArray[np.int32]
    """int32[n], since the first."""
    group_ids: npt.NDArray[Any] | None
    """code → id; None where every row is its own group."""
    groups: npt.NDArray[np.int32]
    """int32[n], codes."""


def read_table(config: TableConfig) -> Table:
    """Read and check the file.

    Raises:
        DataError: names file, column, what was expected, what is there and what to do.
    """
    file = ColumnFile(config.data, () if config.group is None else (config.group,))
    features = _features(file, config)
    first_day, days = _days(file, config.time)
    group_ids, groups = _groups(file, config.group)
    return Table(
        features,
        _matrix(file, features),
        read_labels(file, config.label, config.head, config.positive, config.threshold),
        first_day,
        days,
        group_ids,
        groups,
    )


def _features(file: ColumnFile, config: TableConfig) -> tuple[str, ...]:
    """Names of the feature columns; every column the settings name must be there."""
    others = [name for name in (config.label, config.time, config.group) if name is not None]
    for name in (*others, *(config.features or ())):
        if not file.has(name):
            raise DataError(
                f"{file.path}: no column {name!r}; the file has {', '.join(file.names)}. Name one "
                "of these under workload"
            )
    file.require_rows()
    found = config.features
    if found is None:
        found = tuple(name for name in file.names if name not in others and file.is_number(name))
    if not found:
        raise DataError(
            f"{file.path}: no numeric column is left as a feature beside {', '.join(others)}; the "
            f"file has {', '.join(file.names)}. Encode text as numbers first"
        )
    if unfit := [name for name in found if not is_feature(name)]:
        raise DataError(
            f"{file.path}: column {unfit[0]!r} must have a name that callers of the model can send "
            "as it is: without quotes, backslashes and control characters. Rename it in the file"
        )
    return found


def _matrix(file: ColumnFile, features: tuple[str, ...]) -> Floats:
    """float32[n, f], finite."""
    values = np.empty((len(file), len(features)), np.float32)
    for index, name in enumerate(features):
        column = file.numbers(name)
        with np.errstate(over="ignore"):
            values[:, index] = column
        file.check(name, np.isfinite(values[:, index]), "numbers within the range of float32")
    return values


def _days(file: ColumnFile, name: str) -> tuple[np.datetime64 | None, npt.NDArray[np.int32]]:
    """(first day, where the column has dates; int32[n] days since the first)."""
    if file.is_integer(name):
        numbers = file.numbers(name)
        first, days = None, numbers - numbers.min()
    else:
        dates = file.datetimes(name).astype("datetime64[D]")
        first, days = dates.min(), (dates - dates.min()).astype(np.int64)
    if days.max() > LONGEST_DAYS:
        given = f"a span of {days.max():,.0f} days"
        raise file.error(name, "dates, or whole numbers that count days", given, None)
    return first, days.astype(np.int32)


def _groups(
    file: ColumnFile, name: str | None
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.int32]]:
    """(code → id, or None where every row is its own; int32[n])."""
    if name is None:
        return None, np.arange(len(file), dtype=np.int32)
    return file.ids(name)
