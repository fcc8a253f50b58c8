"""Columns of a Parquet or CSV file, each checked as it is read.

What a method gives is what its name says, or a DataError says which file, which column, what was
expected, what is there, and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from compression.errors import DataError

Ids = npt.NDArray[np.int64] | npt.NDArray[np.str_]
_WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,17})$"


def _read_csv(path: str, text_columns: list[str]) -> Any:
    types = {name: pa.string() for name in text_columns}
    options = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return pa.csv.read_csv(path, convert_options=options)


def _read_parquet(path: str, _: list[str]) -> Any:
    return pa.parquet.read_table(path)


_FORMATS: dict[str, tuple[Callable[[str, list[str]], Any], Callable[[Any, str], None]]] = {
    ".csv": (_read_csv, pa.csv.write_csv),
    ".parquet": (_read_parquet, pa.parquet.write_table),
}


def _file_format(
    path: Path,
) -> tuple[Callable[[str, list[str]], Any], Callable[[Any, str], None]]:
    if path.suffix.lower() not in _FORMATS:
        raise DataError(
            f"{path}: the file's format is told by its suffix, {' or '.join(_FORMATS)}; this one "
            f"has {path.suffix or 'none'!r}. Convert or rename the file."
        )
    return _FORMATS[path.suffix.lower()]


def write_columns(columns: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """Arrays [n] by name to a .parquet or .csv file."""
    _file_format(path)[1](pa.table(columns), str(path))


class ColumnFile:
    """A file's columns by name. Subclasses may know them by other names, see `actual`."""

    def __init__(self, path: Path, ids: Iterable[str] = ()) -> None:
        """`ids` are read as text from a CSV: read as numbers, 007 and 7 would be one customer."""
        self.path = path
        read = _file_format(path)[0]
        try:
            self._table = read(str(path), [self.actual(name) for name in ids])
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: cannot be read as {path.suffix[1:].lower()}: {error}. Check that the "
                "path is right and the file is whole."
            ) from error

    def actual(self, name: str) -> str:
        """The file's own name of a column."""
        return name

    def described(self, name: str) -> str:
        """A column as messages call it."""
        return repr(name)

    def advice(self, name: str) -> str:
        """What to do about a column that does not hold what it must."""
        return "Correct the file, or name another column."

    @property
    def names(self) -> tuple[str, ...]:
        """Columns as the file calls them."""
        return tuple(self._table.column_names)

    def __len__(self) -> int:
        rows: int = self._table.num_rows
        return rows

    def require_rows(self) -> None:
        """Refuse a file that has columns only."""
        if not len(self):
            raise DataError(
                f"{self.path}: the file has columns but no rows. Give a file with some."
            )

    def has(self, name: str) -> bool:
        """Whether the file has this column."""
        return self.actual(name) in self.names

    def is_integer(self, name: str) -> bool:
        """Whether the column holds whole numbers, as the file has it."""
        return bool(pa.types.is_integer(self._type(name)))

    def is_number(self, name: str) -> bool:
        """Whether the column holds numbers or truth values, as the file has it."""
        kind = self._type(name)
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        return any(test(kind) for test in tests)

    def _type(self, name: str) -> Any:
        return self._table.schema.field(self.actual(name)).type

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """float64[n], finite."""
        values = self.values(name, pa.float64(), "numbers")
        self.check(name, np.isfinite(values), "finite numbers")
        return values

    def datetimes(self, name: str) -> npt.NDArray[np.datetime64]:
        """datetime64[s][n]; times with a time zone become UTC."""
        return self.values(name, pa.timestamp("s"), "dates with times")

    def ids(self, name: str) -> tuple[Ids, npt.NDArray[np.int32]]:
        """(code → id, sorted; int32[n] codes). Text that is all whole numbers becomes int64."""
        column = self.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        text = not pa.types.is_integer(column.type)
        if (
            text
            and pc.all(pc.match_substring_regex(column.cast(pa.string()), _WHOLE_NUMBER)).as_py()
        ):
            text = False
        unique = pc.unique(self._cast(name, column, pa.string() if text else pa.int64(), "ids"))
        unique = unique.sort()
        codes = pc.index_in(column.cast(unique.type), value_set=unique)
        values = unique.to_pylist()
        ids: Ids = np.array(values, np.str_) if text else np.array(values, np.int64)
        return ids, codes.to_numpy().astype(np.int32)

    def column(self, name: str) -> Any:
        """The Arrow column, in one chunk, without nulls."""
        column = self._table.column(self.actual(name)).combine_chunks()
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise self.error(name, "a value in every row", f"{column.null_count} nulls", row)
        return column

    def values(self, name: str, type_: Any, expected: str) -> npt.NDArray[Any]:
        """[n] of an Arrow type; `expected` says in words what that is."""
        column = self._cast(name, self.column(name), type_, expected)
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values

    def _cast(self, name: str, column: Any, type_: Any, expected: str) -> Any:
        try:
            # Fractions of a second are dropped; nothing else may be lost.
            exact = not pa.types.is_timestamp(column.type)
            return column.cast(type_, safe=exact)
        except pa.ArrowException as error:
            raise self.error(name, expected, f"{column.type}: {error}", None) from error

    def check(self, name: str, good: npt.NDArray[np.bool_], expected: str) -> None:
        """Raise for the first row that is not good bool[n]."""
        if not good.all():
            row = int(np.argmin(good))
            value = self._table.column(self.actual(name))[row].as_py()
            bad = int((~good).sum())
            raise self.error(name, expected, f"{value!r} ({bad} such rows)", row)

    def error(self, name: str, expected: str, given: str, row: int | None) -> DataError:
        """What to raise for a column that does not hold what it must."""
        where = "" if row is None else f" in row {row} (from 0)"
        return DataError(
            f"{self.path}: column {self.described(name)} must hold {expected}; it holds "
            f"{given}{where}. {self.advice(name)}"
        )
