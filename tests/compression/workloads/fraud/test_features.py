"""The vectorised features against a slow reference that follows the definitions word by word."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from compression.workloads.fraud.features import (
    HISTORY_FEATURES,
    PUBLISHED_FEATURES,
    TRANSACTION_FEATURES,
    FraudFeatures,
)
from compression.workloads.fraud.transactions import Transactions

DAY_S = 86_400


def _reference(tx: Transactions, row: int) -> list[float]:
    """The 20 inputs of a row, by masks over all rows."""
    now, amount = tx.time_seconds[row], tx.amount[row]
    earlier = np.arange(len(tx)) <= row
    customer = (tx.customer == tx.customer[row]) & earlier
    terminal = tx.terminal == tx.terminal[row]
    counts, means, seen, risks = [], [], [], []
    for days in (1, 7, 30):
        window = customer & (tx.time_seconds > now - days * DAY_S)
        counts.append(window.sum())
        means.append(tx.amount[window].mean())
        end = now - 7 * DAY_S
        window = terminal & (tx.time_seconds <= end) & (tx.time_seconds > end - days * DAY_S)
        seen.append(window.sum())
        risks.append(tx.fraud[window].mean() if window.any() else 0.0)
    when = tx.datetime[row].item()
    offset = tx.terminal_xy[tx.terminal[row]] - tx.customer_xy[tx.customer[row]]
    return [
        np.log1p(amount),
        float(when.weekday() >= 5),
        float(when.hour <= 6),
        *np.log1p(counts),
        *np.log1p(means),
        *np.log1p(seen),
        *risks,
        *np.log1p(amount / np.array(means)),
        *offset,
    ]


def _reference_history(tx: Transactions, row: int, length: int) -> npt.NDArray[np.float64]:
    earlier = np.flatnonzero(tx.customer[:row] == tx.customer[row])
    out = np.zeros((length, 7))
    for slot, past in zip(range(length - 1, -1, -1), earlier[::-1], strict=False):
        before = np.flatnonzero(tx.customer[:past] == tx.customer[past])
        gap_h = 720.0
        if len(before):
            gap_h = (tx.time_seconds[past] - tx.time_seconds[before[-1]]) / 3_600
        own = dict(zip(TRANSACTION_FEATURES, _reference(tx, int(past)), strict=True))
        age_h = (tx.time_seconds[row] - tx.time_seconds[past]) / 3_600
        out[slot] = [
            1,
            own["log_amount"],
            np.log1p(age_h),
            np.log1p(gap_h),
            own["dx"],
            own["dy"],
            own["terminal_risk_7d"],
        ]
    return out


def test_names() -> None:
    assert len(TRANSACTION_FEATURES) == len(set(TRANSACTION_FEATURES)) == 20
    assert TRANSACTION_FEATURES[:15] == PUBLISHED_FEATURES
    assert len(HISTORY_FEATURES) == len(set(HISTORY_FEATURES)) == 7


def test_transaction_features_equal_the_reference(
    small_transactions: Transactions, small_features: FraudFeatures
) -> None:
    tx = small_transactions
    rows = np.random.default_rng(0).choice(len(tx), 150, replace=False)
    rows = np.concatenate([rows, [0, 1, len(tx) - 1]])
    expected = [_reference(tx, int(row)) for row in rows]
    np.testing.assert_allclose(small_features.transaction[rows], expected, rtol=2e-5, atol=2e-5)
    assert small_features.transaction.dtype == np.float32


def test_history_equals_the_reference(small_transactions: Transactions) -> None:
    tx = small_transactions
    features = FraudFeatures.build(tx, history_length=6)
    rows = np.concatenate(
        [np.arange(0, 600, 30), np.random.default_rng(1).choice(len(tx), 20, replace=False)]
    )
    expected = np.stack([_reference_history(tx, int(row), 6) for row in rows])
    got = features.history(rows)
    assert (got[:, 0, 0] == 0).any()
    assert (got[:, 0, 0] == 1).any()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_history_of_all_rows_is_finite_and_padded_at_the_front(
    small_features: FraudFeatures,
) -> None:
    history = small_features.history(np.arange(20_000))
    assert history.shape == (20_000, 32, 7)
    assert np.isfinite(history).all()
    present = history[:, :, 0]
    assert (np.diff(present, axis=1) >= 0).all()
    assert not history[present == 0].any()


def test_history_of_no_rows(small_features: FraudFeatures) -> None:
    assert small_features.history(np.zeros(0, np.int64)).shape == (0, 32, 7)


def test_history_leaves_the_features_alone(small_features: FraudFeatures) -> None:
    rows = np.arange(1_000, 1_100)
    first = small_features.history(rows)
    small_features.history(rows + 50_000)[:] = -1
    np.testing.assert_array_equal(small_features.history(rows), first)


def _row_with_earlier_at_its_terminal(tx: Transactions, days: int) -> tuple[int, int]:
    """(row, past): a row from day 60 on, and one at its terminal `days` to `days` + 1 earlier."""
    for row in range(int(np.searchsorted(tx.time_days, 60)), len(tx)):
        age_s = tx.time_seconds[row] - tx.time_seconds
        past = (tx.terminal == tx.terminal[row]) & (age_s > days * DAY_S)
        past &= age_s < (days + 0.99) * DAY_S
        if past.any():
            return row, int(np.argmax(past))
    raise AssertionError("no such pair")


def _with_flipped_label(tx: Transactions, row: int) -> Transactions:
    fraud = tx.fraud.copy()
    fraud[row] = not fraud[row]
    return replace(tx, fraud=fraud)


def test_a_label_of_six_days_ago_is_not_seen(
    small_transactions: Transactions, small_features: FraudFeatures
) -> None:
    row, past = _row_with_earlier_at_its_terminal(small_transactions, days=6)
    flipped = FraudFeatures.build(_with_flipped_label(small_transactions, past))
    np.testing.assert_array_equal(flipped.transaction[row], small_features.transaction[row])


def test_a_label_of_eight_days_ago_is_seen(
    small_transactions: Transactions, small_features: FraudFeatures
) -> None:
    row, past = _row_with_earlier_at_its_terminal(small_transactions, days=8)
    flipped = FraudFeatures.build(_with_flipped_label(small_transactions, past))
    changed = flipped.transaction[row] != small_features.transaction[row]
    names = {name for name, c in zip(TRANSACTION_FEATURES, changed, strict=True) if c}
    assert names == {"terminal_risk_7d", "terminal_risk_30d"}


def test_no_label_of_the_last_seven_days_is_seen_anywhere(
    small_transactions: Transactions, small_features: FraudFeatures
) -> None:
    tx, row = small_transactions, 80_000
    young = tx.time_seconds > tx.time_seconds[row] - 7 * DAY_S
    flipped = FraudFeatures.build(replace(tx, fraud=tx.fraud ^ young))
    np.testing.assert_array_equal(flipped.transaction[: row + 1], _upto(small_features, row))
    rows = np.arange(row - 1_000, row + 1)
    np.testing.assert_array_equal(flipped.history(rows), small_features.history(rows))


def _upto(features: FraudFeatures, row: int) -> npt.NDArray[np.float32]:
    return features.transaction[: row + 1]


def test_purchases_of_nothing_have_finite_features(small_transactions: Transactions) -> None:
    nothing = replace(small_transactions, amount=np.zeros(len(small_transactions)))
    features = FraudFeatures.build(nothing)
    assert np.isfinite(features.transaction).all()


def test_history_length_must_be_positive(small_transactions: Transactions) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FraudFeatures.build(small_transactions, history_length=0)
