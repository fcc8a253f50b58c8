"""Card transactions as columns: what the simulator makes, a file holds and the features read."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DAY_S = 86_400
"""Seconds in a day."""

Ids = npt.NDArray[np.int64] | npt.NDArray[np.str_]
"""Ids as the user knows them: code → id."""


@dataclass(frozen=True, eq=False)
class Transactions:
    """n transactions in order of time; row i of every column is the same transaction.

    Customers and terminals are dense codes (0, 1, …), so that they can index arrays;
    `customer_ids[code]` and `terminal_ids[code]` give back the user's own ids.
    Two objects are compared by `data_hash()`.
    """

    transaction_id: npt.NDArray[np.int64]
    """int64[n]"""
    datetime: npt.NDArray[np.datetime64]
    """datetime64[s][n], local time of the data, never decreasing"""
    customer: npt.NDArray[np.int32]
    """int32[n], codes"""
    terminal: npt.NDArray[np.int32]
    """int32[n], codes"""
    amount: npt.NDArray[np.float64]
    """float64[n], in units of the currency, never negative"""
    time_seconds: npt.NDArray[np.int64]
    """int64[n], seconds since midnight of day 0, never decreasing"""
    time_days: npt.NDArray[np.int32]
    """int32[n], whole days since day 0"""
    fraud: npt.NDArray[np.bool_]
    """bool[n]"""
    scenario: npt.NDArray[np.int8]
    """int8[n], which fraud pattern made the row; 0 for genuine or unknown"""
    customer_ids: Ids
    """int64 or str [customers]"""
    terminal_ids: Ids
    """int64 or str [terminals]"""
    customer_xy: npt.NDArray[np.float32]
    """float32[customers, 2], home, any unit of length; zeros where the data have no places"""
    terminal_xy: npt.NDArray[np.float32]
    """float32[terminals, 2], same unit"""

    def __len__(self) -> int:
        return len(self.amount)

    @property
    def days(self) -> int:
        """Number of the last day plus one; 0 when there are no rows."""
        return int(self.time_days[-1]) + 1 if len(self) else 0

    def data_hash(self) -> str:
        """Hex sha256 over all columns: equal data give equal hashes, on any machine."""
        digest = hashlib.sha256()
        for name in self.__dataclass_fields__:
            column: npt.NDArray[np.generic] = getattr(self, name)
            digest.update(f"{name}:{column.dtype.kind}:{column.shape};".encode())
            digest.update(_stable_bytes(column))
        return digest.hexdigest()


def _stable_bytes(column: npt.NDArray[np.generic]) -> bytes:
    """Bytes that depend on the values alone, not on string padding or byte order."""
    if column.dtype.kind == "U":
        return b"".join(len(b).to_bytes(4, "little") + b for b in map(str.encode, column.tolist()))
    return np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"))).tobytes()
