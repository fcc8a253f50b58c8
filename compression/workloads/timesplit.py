"""Windows that follow each other in time, for tables of any kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from compression.errors import DataError

Rows = npt.NDArray[np.int64]
Days = npt.NDArray[np.int32]


class TimeSplit(BaseModel):
    """Shares of the rows, from the first day on; what is left judges. A day is never divided.

    Gaps are at the cost of the test window.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(default=0.6, gt=0, lt=1)
    validation: float = Field(default=0.15, gt=0, lt=1)
    gap_days: int = Field(default=0, ge=0)
    """Days between two windows that belong to neither, e.g. as long as labels take."""

    @model_validator(mode="after")
    def _something_is_left(self) -> TimeSplit:
        if self.train + self.validation >= 1:
            raise ValueError(
                f"train {self.train} and validation {self.validation} leave no rows to judge: "
                "together they must be less than 1"
            )
        return self


def split_in_time(days: Days, config: TimeSplit) -> tuple[Rows, Rows, Rows]:
    """Rows int64 of train, validation and test, rising, for days int32[n] from 0.

    Raises:
        DataError: a window is empty.
    """
    share = np.cumsum(np.bincount(days)) / len(days)
    train_last = _day_with(share, config.train)
    validation_first = train_last + 1 + config.gap_days
    begun = share[min(validation_first, len(share)) - 1]
    validation_last = _day_with(share, begun + config.validation)
    windows = {
        "train": (0, train_last),
        "validation": (validation_first, validation_last),
        "test": (validation_last + 1 + config.gap_days, len(share) - 1),
    }
    train, validation, test = (_rows(days, name, *window) for name, window in windows.items())
    return train, validation, test


def _day_with(share: npt.NDArray[np.float64], wanted: float) -> int:
    """The day by whose end that share of all rows has come."""
    return int(np.searchsorted(share, wanted - 1e-9))


def _rows(days: Days, name: str, first: int, last: int) -> Rows:
    rows = np.flatnonzero((days >= first) & (days <= last))
    if not len(rows):
        raise DataError(
            f"split: no rows are left for the {name} window, which would begin on day {first}; the "
            f"data have days 0 to {days.max()}, {len(np.unique(days))} of them with rows. Give "
            "data of more days, or change train, validation and gap_days under workload.split"
        )
    return rows
