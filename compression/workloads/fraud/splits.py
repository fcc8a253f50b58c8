"""Which rows train, choose and judge a model: windows of days, with gaps as long as labels take."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from compression.errors import DataError
from compression.workloads.fraud.transactions import Transactions

Days = tuple[int, int]
"""First and last day, both included."""
Rows = npt.NDArray[np.int64]


class SplitConfig(BaseModel):
    """Windows of days (first and last, both included), and which cards are out of the game.

    In validation and test, a card is dropped on day t when it is *known* to be defrauded: when
    it had a fraud in days [t - label_delay - known_fraud_memory, t - label_delay). The published
    protocol never forgets (`None`: since the first training day), as if a defrauded card were
    dead. The default of 7 days models a card that is blocked and issued anew: the customer
    goes on buying, and over eight weeks of test most frauds would otherwise be dropped with them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_days: Days = (43, 98)
    validation_days: Days | None = (106, 119)
    """None: no validation rows"""
    test_days: Days = (127, 182)
    label_delay_days: int = Field(default=7, ge=0)
    known_fraud_memory_days: int | None = Field(default=7, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> "SplitConfig":
        windows = self.windows
        for name, (first, last) in windows.items():
            if not 0 <= first <= last:
                raise ValueError(f"{name} is {first} to {last}; need 0 <= first day <= last day")
        names = list(windows)
        for before, after in pairwise(names):
            earliest = windows[before][1] + self.label_delay_days + 1
            if windows[after][0] < earliest:
                raise ValueError(
                    f"{after} begins on day {windows[after][0]}, before the labels of {before} are "
                    f"known; begin on day {earliest} or later, or lower label_delay_days"
                )
        return self

    @property
    def windows(self) -> dict[str, Days]:
        """The windows that are set, by config key, in order of time."""
        validation = (
            {} if self.validation_days is None else {"validation_days": self.validation_days}
        )
        return {"train_days": self.train_days, **validation, "test_days": self.test_days}

    @classmethod
    def published(cls) -> "SplitConfig":
        """The handbook's protocol: a week from 2018-07-25, a week's gap, a week of test."""
        return cls(
            train_days=(115, 121),
            validation_days=None,
            test_days=(129, 135),
            known_fraud_memory_days=None,
        )

    @classmethod
    def for_days(cls, first_day: int, last_day: int, label_delay_days: int = 7) -> "SplitConfig":
        """The default's proportions (4 : 1 : 4, with two gaps) on days first_day … last_day.

        Leave out the first 37 days of the data if you can: their 30-day features are not full.
        """
        usable = last_day - first_day + 1 - 2 * label_delay_days
        if usable < 9:
            raise DataError(
                f"split: days {first_day} to {last_day} are too few: two gaps of "
                f"{label_delay_days} days (label_delay_days) and 9 days of data are needed: "
                f"{2 * label_delay_days + 9}. Give more days, or set train_days, validation_days "
                "(or null), test_days and label_delay_days yourself."
            )
        judged, chosen = usable * 4 // 9, usable // 9
        train_last = last_day - judged - chosen - 2 * label_delay_days
        validation_first = train_last + 1 + label_delay_days
        return cls(
            train_days=(first_day, train_last),
            validation_days=(validation_first, validation_first + chosen - 1),
            test_days=(last_day - judged + 1, last_day),
            label_delay_days=label_delay_days,
        )


@dataclass(frozen=True, eq=False)
class Split:
    """Row indices into the Transactions, int64, ascending, without rows in common."""

    train: Rows
    validation: Rows
    test: Rows


def split(tx: Transactions, config: SplitConfig) -> Split:
    """The rows of each window, without the known defrauded cards in validation and test.

    Raises DataError when the data do not reach the last day or a window has no rows.
    """
    last = config.test_days[1]
    if last >= tx.days:
        raise DataError(
            f"split: the data end on day {tx.days - 1}, but test_days end on day {last}: "
            f"{last + 1} days of data are needed. Give more data, or set train_days, "
            "validation_days and test_days, e.g. from SplitConfig.for_days(37, "
            f"{tx.days - 1})."
        )
    rows = {name: _rows(tx, days) for name, days in config.windows.items()}
    for name in rows:
        if name != "train_days":
            rows[name] = rows[name][~_known_defrauded(tx, rows[name], config)]
        if not len(rows[name]):
            first, last = config.windows[name]
            raise DataError(
                f"split: {name} {first} to {last} hold no usable transactions; the data have days "
                f"{int(tx.time_days[0])} to {tx.days - 1}. Set {name} to days within them."
            )
    empty = np.zeros(0, np.int64)
    return Split(rows["train_days"], rows.get("validation_days", empty), rows["test_days"])


def _rows(tx: Transactions, days: Days) -> Rows:
    first, last = np.searchsorted(tx.time_days, [days[0], days[1] + 1])
    return np.arange(first, last, dtype=np.int64)


def _known_defrauded(tx: Transactions, rows: Rows, config: SplitConfig) -> npt.NDArray[np.bool_]:
    """bool[m]: whether on its day the card of each of rows int64[m] is known to be defrauded."""
    span = tx.days + 1
    frauds = np.flatnonzero(tx.fraud)
    key = np.sort(tx.customer[frauds].astype(np.int64) * span + tx.time_days[frauds])
    card = tx.customer[rows].astype(np.int64) * span
    end = np.maximum(tx.time_days[rows].astype(np.int64) - config.label_delay_days, 0)
    if config.known_fraud_memory_days is None:
        start = np.minimum(end, config.train_days[0])
    else:
        start = np.maximum(end - config.known_fraud_memory_days, 0)
    return np.searchsorted(key, card + end) > np.searchsorted(key, card + start)
