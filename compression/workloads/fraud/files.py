"""Transactions from and to Parquet and CSV, under the published column names or the user's own.

What is read is checked: whatever the rest of the workload relies on is either true of the
Transactions returned, or a DataError says which file, which column, what was expected, what is
there, and what to do next.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from compression.errors import DataError
from compression.workloads.fraud.transactions import DAY_S, Ids, Transactions

NEEDED_COLUMNS = ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
PLACE_COLUMNS = ("CUSTOMER_X", "CUSTOMER_Y", "TERMINAL_X", "TERMINAL_Y")
DERIVED_COLUMNS = ("TRANSACTION_ID", "TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO")
COLUMNS = (*NEEDED_COLUMNS, *DERIVED_COLUMNS, *PLACE_COLUMNS)

_WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,17})$"


def read_transactions(path: str | Path, columns: Mapping[str, str] | None = None) -> Transactions:
    """Transactions from a .parquet or .csv file, in any order of rows.

    columns maps our names (`COLUMNS`) to the file's, where they differ. NEEDED_COLUMNS must be
    there; DERIVED_COLUMNS are derived when absent (a transaction's id, also where it is not a
    whole number, is then its row number in the file, from 0); PLACE_COLUMNS come all four or
    not at all. Times with a time zone become UTC: the weekend and night inputs then mean UTC.
    Raises DataError.
    """
    table = _Table(Path(path), dict(columns or {}))
    times = table.datetimes()
    order = np.argsort(times, kind="stable")
    customer_ids, customer = table.ids("CUSTOMER_ID")
    terminal_ids, terminal = table.ids("TERMINAL_ID")
    seconds = table.seconds(times)
    places = table.places(customer, len(customer_ids), terminal, len(terminal_ids))
    return Transactions(
        transaction_id=table.transaction_ids()[order],
        datetime=times[order],
        customer=customer[order],
        terminal=terminal[order],
        amount=table.amounts()[order],
        time_seconds=seconds[order],
        time_days=(seconds[order] // DAY_S).astype(np.int32),
        fraud=table.frauds()[order],
        scenario=table.scenarios()[order],
        customer_ids=customer_ids,
        terminal_ids=terminal_ids,
        customer_xy=places[0],
        terminal_xy=places[1],
    )


def write_transactions(tx: Transactions, path: str | Path) -> None:
    """All columns of tx, published names and places, to a .parquet or .csv file."""
    columns = {
        "TRANSACTION_ID": tx.transaction_id,
        "TX_DATETIME": tx.datetime,
        "CUSTOMER_ID": tx.customer_ids[tx.customer],
        "TERMINAL_ID": tx.terminal_ids[tx.terminal],
        "TX_AMOUNT": tx.amount,
        "TX_TIME_SECONDS": tx.time_seconds,
        "TX_TIME_DAYS": tx.time_days,
        "TX_FRAUD": tx.fraud.astype(np.int8),
        "TX_FRAUD_SCENARIO": tx.scenario,
        "CUSTOMER_X": tx.customer_xy[tx.customer, 0],
        "CUSTOMER_Y": tx.customer_xy[tx.customer, 1],
        "TERMINAL_X": tx.terminal_xy[tx.terminal, 0],
        "TERMINAL_Y": tx.terminal_xy[tx.terminal, 1],
    }
    _file_format(Path(path))[1](pa.table(columns), str(path))


def _read_csv(path: str, id_columns: list[str]) -> Any:
    # Ids as text first: read as numbers, 007 and 7 would be one customer.
    types = {name: pa.string() for name in id_columns}
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


class _Table:
    """A file's table under our column names; every method checks what it gives."""

    def __init__(self, path: Path, theirs: dict[str, str]) -> None:
        self._path, self._theirs = path, theirs
        for name in theirs:
            if name not in COLUMNS:
                raise DataError(
                    f"{path}: the column mapping has the unknown key {name!r}; known keys are "
                    f"{', '.join(COLUMNS)}. Keys are our names, values the file's."
                )
        read = _file_format(path)[0]
        try:
            ids = [self._name(n) for n in ("CUSTOMER_ID", "TERMINAL_ID")]
            self._table = read(str(path), ids)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: cannot be read as {path.suffix[1:].lower()}: {error}. Check that the "
                "path is right and the file is whole."
            ) from error
        # A mapped column was asked for, so it is needed, too.
        for name in dict.fromkeys((*NEEDED_COLUMNS, *theirs)):
            if not self.has(name):
                raise DataError(
                    f"{path}: no column {self._name(name)!r} (for {name}); the file has "
                    f"{', '.join(self._table.column_names)}. Say which one it is in the column "
                    f"mapping, e.g. {name}: {self._table.column_names[0]}."
                )
        if not self._table.num_rows:
            raise DataError(f"{path}: the file has columns but no rows. Give a file with some.")

    def has(self, name: str) -> bool:
        """Whether the file has our column."""
        return self._name(name) in self._table.column_names

    def datetimes(self) -> npt.NDArray[np.datetime64]:
        """datetime64[s][n], in the file's order."""
        return self._values("TX_DATETIME", pa.timestamp("s"), "dates with times")

    def amounts(self) -> npt.NDArray[np.float64]:
        """float64[n], finite and not negative."""
        amount = self._values("TX_AMOUNT", pa.float64(), "numbers")
        self._require("TX_AMOUNT", np.isfinite(amount) & (amount >= 0), "finite amounts >= 0")
        return amount

    def frauds(self) -> npt.NDArray[np.bool_]:
        """bool[n]"""
        fraud = self._values("TX_FRAUD", pa.float64(), "0 or 1")
        self._require("TX_FRAUD", np.isin(fraud, (0, 1)), "0 or 1 (or false, true)")
        return fraud.astype(np.bool_)

    def scenarios(self) -> npt.NDArray[np.int8]:
        """int8[n]; zeros where the file has none."""
        name, expected = "TX_FRAUD_SCENARIO", "whole numbers from 0 to 127"
        if not self.has(name):
            return np.zeros(self._table.num_rows, np.int8)
        scenario = self._values(name, pa.int8(), expected)
        self._require(name, scenario >= 0, expected)
        return scenario

    def transaction_ids(self) -> npt.NDArray[np.int64]:
        """int64[n]: the file's, or row numbers."""
        name = "TRANSACTION_ID"
        if self.has(name) and pa.types.is_integer(self._column(name).type):
            return self._values(name, pa.int64(), "whole numbers")
        return np.arange(self._table.num_rows, dtype=np.int64)

    def ids(self, name: str) -> tuple[Ids, npt.NDArray[np.int32]]:
        """(code → id, sorted; int32[n] codes). Text that is all whole numbers becomes int64."""
        column = self._column(name)
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

    def seconds(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
        """int64[n] since midnight of day 0, which is the file's or else the first day there."""
        days = times.astype("datetime64[D]")
        derived = (times - days.min()).astype(np.int64)
        first = int(np.argmin(times))
        shift = 0
        if self.has("TX_TIME_SECONDS"):
            given = self._values("TX_TIME_SECONDS", pa.int64(), "whole seconds")
            shift = int(given[first] - derived[first])
            self._require(
                "TX_TIME_SECONDS",
                (given - derived == shift) & (given >= 0) & (shift % DAY_S == 0),
                "seconds since midnight of day 0, that agree with TX_DATETIME",
            )
        if self.has("TX_TIME_DAYS"):
            given = self._values("TX_TIME_DAYS", pa.int64(), "whole days")
            if not self.has("TX_TIME_SECONDS"):
                shift = int(given[first]) * DAY_S
            self._require(
                "TX_TIME_DAYS",
                (given == (derived + shift) // DAY_S) & (given >= 0),
                "days since day 0, that agree with TX_DATETIME and TX_TIME_SECONDS",
            )
        seconds: npt.NDArray[np.int64] = derived + shift
        return seconds

    def places(
        self,
        customer: npt.NDArray[np.int32],
        customers: int,
        terminal: npt.NDArray[np.int32],
        terminals: int,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """float32[customers, 2] and float32[terminals, 2]; zeros where the file has no places."""
        xy = np.zeros((customers, 2), np.float32), np.zeros((terminals, 2), np.float32)
        given = [name for name in PLACE_COLUMNS if self.has(name)]
        if given and len(given) < len(PLACE_COLUMNS):
            missing = ", ".join(n for n in PLACE_COLUMNS if n not in given)
            raise DataError(
                f"{self._path}: has {', '.join(given)} but not {missing}; places need all four. "
                "Add the missing ones, by the column mapping or in the file, or remove the others."
            )
        for i, name in enumerate(given):
            codes, place = (customer, xy[0]) if i < 2 else (terminal, xy[1])
            value = self._values(name, pa.float64(), "numbers").astype(np.float32)
            self._require(name, np.isfinite(value), "finite numbers")
            place[codes, i % 2] = value
            owner = "customer (home)" if i < 2 else "terminal"
            self._require(name, place[codes, i % 2] == value, f"one place for each {owner}")
        return xy

    def _name(self, ours: str) -> str:
        return self._theirs.get(ours, ours)

    def _column(self, name: str) -> Any:
        column = self._table.column(self._name(name)).combine_chunks()
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise self._error(name, "a value in every row", f"{column.null_count} nulls", row)
        return column

    def _values(self, name: str, type_: Any, expected: str) -> npt.NDArray[Any]:
        column = self._cast(name, self._column(name), type_, expected)
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values

    def _cast(self, name: str, column: Any, type_: Any, expected: str) -> Any:
        try:
            # Fractions of a second are dropped; nothing else may be lost.
            exact = not pa.types.is_timestamp(column.type)
            return column.cast(type_, safe=exact)
        except pa.ArrowException as error:
            raise self._error(name, expected, f"{column.type}: {error}", None) from error

    def _require(self, name: str, good: npt.NDArray[np.bool_], expected: str) -> None:
        """Raise for the first row that is not good bool[n]."""
        if not good.all():
            row = int(np.argmin(good))
            value = self._table.column(self._name(name))[row].as_py()
            bad = int((~good).sum())
            raise self._error(name, expected, f"{value!r} ({bad} such rows)", row)

    def _error(self, name: str, expected: str, given: str, row: int | None) -> DataError:
        where = "" if row is None else f" in row {row} (from 0)"
        optional = name not in NEEDED_COLUMNS
        hint = " or leave the column out, it is optional" if optional else ""
        return DataError(
            f"{self._path}: column {self._name(name)!r} ({name}) must hold {expected}; it holds "
            f"{given}{where}. Correct the file, or name another column in the column mapping{hint}."
        )
