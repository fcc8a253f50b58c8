from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from compression.errors import DataError
from compression.workloads.fraud.splits import SplitConfig, split
from compression.workloads.fraud.transactions import Transactions


def test_default_windows(small_transactions: Transactions) -> None:
    parts = split(small_transactions, SplitConfig())
    day = small_transactions.time_days
    assert (day[parts.train].min(), day[parts.train].max()) == (43, 98)
    assert (day[parts.validation].min(), day[parts.validation].max()) == (106, 119)
    assert (day[parts.test].min(), day[parts.test].max()) == (127, 182)
    assert len(parts.train) == ((day >= 43) & (day <= 98)).sum()
    assert parts.train.dtype == parts.validation.dtype == parts.test.dtype == np.int64
    assert (np.diff(parts.test) > 0).all()


@pytest.mark.parametrize("memory", [7, 3, 0, None])
def test_known_defrauded_cards_are_dropped(
    small_transactions: Transactions, memory: int | None
) -> None:
    tx = small_transactions
    config = SplitConfig(known_fraud_memory_days=memory)
    parts = split(tx, config)
    for (first, last), rows in (
        ((106, 119), parts.validation),
        ((127, 182), parts.test),
    ):
        expected = []
        for day in range(first, last + 1):
            since = 43 if memory is None else day - 7 - memory
            known = tx.fraud & (tx.time_days >= since) & (tx.time_days < day - 7)
            cards = np.unique(tx.customer[known])
            today = tx.time_days == day
            expected.append(np.flatnonzero(today & ~np.isin(tx.customer, cards)))
        np.testing.assert_array_equal(rows, np.concatenate(expected))


def test_published_protocol(small_transactions: Transactions) -> None:
    config = SplitConfig.published()
    assert config.known_fraud_memory_days is None
    # A fixture of 300 customers has each defrauded sooner or later: keep the frauds of a few.
    few = replace(
        small_transactions, fraud=small_transactions.fraud & (small_transactions.customer < 30)
    )
    parts = split(few, config)
    assert len(parts.validation) == 0
    assert set(few.time_days[parts.train]) == set(range(115, 122))
    assert set(few.time_days[parts.test]) == set(range(129, 136))
    assert few.datetime[parts.train[0]].astype("datetime64[D]") == np.datetime64("2018-07-25")


def test_too_few_days_say_how_many_are_needed(small_transactions: Transactions) -> None:
    with pytest.raises(DataError, match=r"end on day 182.*201 days of data are needed"):
        split(small_transactions, SplitConfig(test_days=(127, 200)))


def test_a_window_without_rows_is_named(small_transactions: Transactions) -> None:
    tx = small_transactions
    later = replace(tx, time_days=tx.time_days + 200, time_seconds=tx.time_seconds + 200 * 86_400)
    with pytest.raises(DataError, match="train_days 43 to 98 hold no usable transactions"):
        split(later, SplitConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_days": (50, 40)}, "first day <= last day"),
        ({"train_days": (-1, 40)}, "0 <= first day"),
        ({"validation_days": (100, 119)}, "begin on day 106 or later"),
        ({"train_days": (43, 98), "validation_days": None, "test_days": (99, 120)}, "106 or later"),
        ({"test_day": (127, 182)}, "test_day"),
    ],
)
def test_impossible_configs_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitConfig.model_validate(values)


def test_for_days_of_the_default_is_the_default() -> None:
    assert SplitConfig.for_days(43, 182) == SplitConfig()


@pytest.mark.parametrize("last", [59, 60, 75, 120, 400])
def test_for_days_uses_all_days(last: int) -> None:
    config = SplitConfig.for_days(37, last)
    assert config.train_days[0] == 37
    assert config.test_days[1] == last
    assert config.validation_days is not None
    assert config.validation_days[0] - config.train_days[1] == 8
    assert config.test_days[0] - config.validation_days[1] == 8


def test_for_too_few_days_says_what_is_needed() -> None:
    with pytest.raises(DataError, match="are needed: 23"):
        SplitConfig.for_days(37, 58)
