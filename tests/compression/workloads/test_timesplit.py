from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from compression.errors import DataError
from compression.workloads.timesplit import TimeSplit, split_in_time


def _days(*counts: int) -> np.ndarray:
    """`counts` rows on day 0, 1, …, in random order."""
    days = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return np.random.default_rng(0).permutation(days)


def test_windows_have_their_shares_and_follow_each_other() -> None:
    days = _days(*[10] * 20)
    train, validation, test = split_in_time(days, TimeSplit(train=0.6, validation=0.15))
    assert (len(train), len(validation), len(test)) == (120, 30, 50)
    assert days[train].max() < days[validation].min()
    assert days[validation].max() < days[test].min()
    for rows in (train, validation, test):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()


def test_a_gap_belongs_to_nobody() -> None:
    days = _days(*[10] * 20)
    windows = split_in_time(days, TimeSplit(train=0.5, validation=0.2, gap_days=2))
    ends = [(int(days[rows].min()), int(days[rows].max())) for rows in windows]
    assert ends == [(0, 9), (12, 15), (18, 19)]


def test_a_day_is_never_divided() -> None:
    days = _days(30, 30, 10, 30)
    train, validation, test = split_in_time(days, TimeSplit(train=0.5, validation=0.1))
    assert [len(rows) for rows in (train, validation, test)] == [60, 10, 30]


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ([50, 10, 10], {}, "for the test window, .* day 3; .* days 0 to 2, 3 of them"),
        ([60, 20], {}, "for the test window, which would begin on day 2"),
        ([100], {}, "for the validation window, which would begin on day 1"),
        ([10] * 10, {"gap_days": 5}, "for the validation window, .* day 11; .* gap_days under"),
        ([60, 0, 20, 20], {"gap_days": 1}, "for the test window, which would begin on day 4"),
    ],
)
def test_an_empty_window_is_refused(
    counts: list[int], settings: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_in_time(_days(*counts), TimeSplit.model_validate(settings))


@pytest.mark.parametrize(
    "settings", [{"train": 0.9, "validation": 0.1}, {"train": 0}, {"gap_days": -1}, {"test": 0.2}]
)
def test_shares_that_leave_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TimeSplit.model_validate(settings)
