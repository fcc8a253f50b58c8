"""Transactions from and to Parquet and CSV, under the published column names or the user's own.

What is read is checked: whatever the rest of the workload relies on is either true of the
Transactions returned, or a DataError says which file, which column, what was expected, what is
there, and what to do next.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compression.errors import DataError
from compression.workloads.columns import ColumnFile, write_columns
from compression.workloads.fraud.transactions import DAY_S, Transactions

NEEDED_COLUMNS = ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
PLACE_COLUMNS = ("CUSTOMER_X", "CUSTOMER_Y", "TERMINAL_X", "TERMINAL_Y")
DERIVED_COLUMNS = ("TRANSACTION_ID", "TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO")
COLUMNS = (*NEEDED_COLUMNS, *DERIVED_COLUMNS, *PLACE_COLUMNS)


def read_transactions(path: str | Path, columns: Mapping[str, str] | None = None) -> Transactions:
    """Transactions from a .parquet or .csv file, in any order of rows.

    columns maps our names (`COLUMNS`) to the file's, where they differ. NEEDED_COLUMNS must be
    there; DERIVED_COLUMNS are derived when absent (a transaction's id, also where it is not a
    whole number, is then its row number in the file, from 0); PLACE_COLUMNS come all four or
    not at all. Times with a time zone become UTC: the weekend and night inputs then mean UTC.
    Raises DataError.
    """
    table = _Table(Path(path), dict(columns or {}))
    times = table.datetimes("TX_DATETIME")
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
    write_columns(columns, Path(path))


class _Table(ColumnFile):
    """A file's table under our column names; every method checks what it gives."""

    def __init__(self, path: Path, theirs: dict[str, str]) -> None:
        self._theirs = theirs
        for name in theirs:
            if name not in COLUMNS:
                raise DataError(
                    f"{path}: the column mapping has the unknown key {name!r}; known keys are "
                    f"{', '.join(COLUMNS)}. Keys are our names, values the file's."
                )
        super().__init__(path, ids=("CUSTOMER_ID", "TERMINAL_ID"))
        # A mapped column was asked for, so it is needed, too.
        for name in dict.fromkeys((*NEEDED_COLUMNS, *theirs)):
            if not self.has(name):
                raise DataError(
                    f"{path}: no column {self.actual(name)!r} (for {name}); the file has "
                    f"{', '.join(self.names)}. Say which one it is in the column "
                    f"mapping, e.g. {name}: {self.names[0]}."
                )
        self.require_rows()

    def actual(self, name: str) -> str:
        """The file's own name of our column."""
        return self._theirs.get(name, name)

    def described(self, name: str) -> str:
        """Both names."""
        return f"{self.actual(name)!r} ({name})"

    def advice(self, name: str) -> str:
        """What can be done about a column of ours."""
        optional = "" if name in NEEDED_COLUMNS else " or leave the column out, it is optional"
        return f"Correct the file, or name another column in the column mapping{optional}."

    def amounts(self) -> npt.NDArray[np.float64]:
        """float64[n], finite and not negative."""
        amount = self.values("TX_AMOUNT", pa.float64(), "numbers")
        self.check("TX_AMOUNT", np.isfinite(amount) & (amount >= 0), "finite amounts >= 0")
        return amount

    def frauds(self) -> npt.NDArray[np.bool_]:
        """bool[n]"""
        fraud = self.values("TX_FRAUD", pa.float64(), "0 or 1")
        self.check("TX_FRAUD", np.isin(fraud, (0, 1)), "0 or 1 (or false, true)")
        return fraud.astype(np.bool_)

    def scenarios(self) -> npt.NDArray[np.int8]:
        """int8[n]; zeros where the file has none."""
        name, expected = "TX_FRAUD_SCENARIO", "whole numbers from 0 to 127"
        if not self.has(name):
            return np.zeros(len(self), np.int8)
        scenario = self.values(name, pa.int8(), expected)
        self.check(name, scenario >= 0, expected)
        return scenario

    def transaction_ids(self) -> npt.NDArray[np.int64]:
        """int64[n]: the file's, or row numbers."""
        name = "TRANSACTION_ID"
        if self.has(name) and self.is_integer(name):
            return self.values(name, pa.int64(), "whole numbers")
        return np.arange(len(self), dtype=np.int64)

    def seconds(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
        """int64[n] since midnight of day 0, which is the file's or else the first day there."""
        days = times.astype("datetime64[D]")
        derived = (times - days.min()).astype(np.int64)
        first = int(np.argmin(times))
        shift = 0
        if self.has("TX_TIME_SECONDS"):
            given = self.values("TX_TIME_SECONDS", pa.int64(), "whole seconds")
            shift = int(given[first] - derived[first])
            self.check(
                "TX_TIME_SECONDS",
                (given - derived == shift) & (given >= 0) & (shift % DAY_S == 0),
                "seconds since midnight of day 0, that agree with TX_DATETIME",
            )
        if self.has("TX_TIME_DAYS"):
            given = self.values("TX_TIME_DAYS", pa.int64(), "whole days")
            if not self.has("TX_TIME_SECONDS"):
                shift = int(given[first]) * DAY_S
            self.check(
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
                f"{self.path}: has {', '.join(given)} but not {missing}; places need all four. "
                "Add the missing ones, by the column mapping or in the file, or remove the others."
            )
        for i, name in enumerate(given):
            codes, place = (customer, xy[0]) if i < 2 else (terminal, xy[1])
            value = self.values(name, pa.float64(), "numbers").astype(np.float32)
            self.check(name, np.isfinite(value), "finite numbers")
            place[codes, i % 2] = value
            owner = "customer (home)" if i < 2 else "terminal"
            self.check(name, place[codes, i % 2] == value, f"one place for each {owner}")
        return xy
