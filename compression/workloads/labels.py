"""The label column of a table, and the head that its values call for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compression.errors import DataError
from compression.heads import Binary, Head, MultiClass, Regression
from compression.workloads.columns import ColumnFile

HeadName = Literal["binary", "multiclass", "regression"]
MANY = 100
"""More distinct whole numbers than this are hardly classes: the recipe must say so."""
YES = ({"0", "1"}, {"false", "true"})
"""Pairs of labels of which the second one in sorted order means yes."""


@dataclass(frozen=True, eq=False)
class Labels:
    """bool[n], int64[n] of classes from 0, or float64[n], as the head wants them."""

    values: npt.NDArray[Any]
    head: Head
    names: tuple[str, ...]
    """Classes as the file names them, in order; empty for numbers."""


def read_labels(
    file: ColumnFile,
    name: str,
    head: HeadName | None,
    positive: str | None,
    threshold: float | None,
) -> Labels:
    """The column's labels. `head` None: two labels are binary, more are classes.

    Raises:
        DataError: the values do not fit the head, or leave open which one is meant.
    """
    if head == "regression":
        if threshold is None:
            raise DataError(
                "workload.head is regression: workload.threshold must say from which value on "
                "something is done; the model is judged by how well it tells these rows"
            )
        return Labels(file.numbers(name), Regression(threshold), ())
    names, codes = _classes(file, name)
    if len(names) < 2:
        raise file.error(name, "at least two different labels", f"only {names[0]!r}", None)
    if head == "binary" or positive is not None or (head is None and len(names) == 2):
        return Labels(codes == _yes(file, name, names, positive), Binary(), names)
    if head is None and len(names) > MANY:
        expected = f"at most {MANY} different labels, or the recipe must say which head is meant"
        raise file.error(name, expected, f"{len(names):,}", None)
    return Labels(codes.astype(np.int64), MultiClass(len(names)), names)


def _classes(file: ColumnFile, name: str) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """(labels in order, code of each row): truth values, whole numbers or text."""
    if not file.is_number(name) or file.is_integer(name):
        ids, codes = file.ids(name)
        return tuple(str(value) for value in ids.tolist()), codes
    values = file.numbers(name)
    whole = "truth values, whole numbers or text (for fractions say head: regression)"
    file.check(name, values == np.round(values), whole)
    unique, found = np.unique(values.astype(np.int64), return_inverse=True)
    return tuple(str(value) for value in unique.tolist()), found.astype(np.int32)


def _yes(file: ColumnFile, name: str, names: tuple[str, ...], positive: str | None) -> int:
    """Code of the label that means yes."""
    if positive is None and {label.lower() for label in names} in YES:
        return 1
    if positive not in names:
        expected = "0 and 1, or workload.positive must name the label that means yes"
        raise file.error(name, expected, f"the labels {', '.join(names[:10])}", None)
    return names.index(positive)
