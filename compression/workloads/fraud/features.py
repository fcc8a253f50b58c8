"""What a model sees of a transaction: 20 numbers of its own and its customer's history.

Labels are known late. A feature that counts frauds therefore uses labels that are at least
`LABEL_DELAY_DAYS` old at the time of the transaction, and nothing else uses labels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.workloads.fraud.transactions import DAY_S, Transactions

LABEL_DELAY_DAYS = 7
WINDOW_DAYS = (1, 7, 30)

PUBLISHED_FEATURES: tuple[str, ...] = (
    "log_amount",
    "weekend",
    "night",
    *(f"log_customer_count_{d}d" for d in WINDOW_DAYS),
    *(f"log_customer_mean_amount_{d}d" for d in WINDOW_DAYS),
    *(f"log_terminal_count_{d}d" for d in WINDOW_DAYS),
    *(f"terminal_risk_{d}d" for d in WINDOW_DAYS),
)
"""The 15 inputs of the published baselines; a `log_` column is log1p of the published one."""

TRANSACTION_FEATURES: tuple[str, ...] = (
    *PUBLISHED_FEATURES,
    *(f"log_amount_ratio_{d}d" for d in WINDOW_DAYS),
    "dx",
    "dy",
)
"""The 20 columns of `FraudFeatures.transaction`."""

HISTORY_FEATURES: tuple[str, ...] = (
    "present",
    "log_amount",
    "log_hours_before_current",
    "log_hours_since_previous",
    "dx",
    "dy",
    "terminal_risk_7d",
)
"""The 7 columns of each past transaction in `FraudFeatures.history`."""

NO_PREVIOUS_HOURS = 720.0
"""Gap of a customer's first known transaction: a month, for 0 would look like a burst."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_HOUR_S = 3_600
_BEFORE_CURRENT = HISTORY_FEATURES.index("log_hours_before_current")


@dataclass(frozen=True, eq=False)
class FraudFeatures:
    """Model-ready features of n transactions; rows are those of the Transactions.

    Heavy-tailed quantities come as log1p; dx and dy are terminal minus home, in the unit of the
    data's places, not scaled.
    """

    transaction: Floats
    """float32[n, 20], columns TRANSACTION_FEATURES"""
    history_length: int
    """K: how many past transactions `history` gives"""
    _position: Ints
    """int64[n]: row → position in order of (customer, time)"""
    _past: Ints
    """int64[n], by position: how many earlier transactions its customer has"""
    _steps: Floats
    """float32[K + n, 7], by position after K rows of padding: the row as part of a history"""
    _time_s: Ints
    """int64[K + n], likewise: seconds since the start"""

    @classmethod
    def build(cls, tx: Transactions, history_length: int = 32) -> "FraudFeatures":
        """All features of tx; a few seconds and 250 bytes a row for 1.75 M rows."""
        if history_length < 1:
            raise ValueError(f"history_length is {history_length}; it must be at least 1")
        order = np.argsort(tx.customer, kind="stable").astype(np.int64)
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        customer, time_s = tx.customer[order], tx.time_seconds[order]
        starts = np.searchsorted(customer, customer, side="left")
        transaction = _transaction_features(tx, order)
        steps = np.zeros((history_length + len(tx), len(HISTORY_FEATURES)), np.float32)
        past = np.arange(len(order)) - starts
        steps[history_length:] = _steps(transaction[order], time_s, past)
        padded_time = np.concatenate([np.zeros(history_length, np.int64), time_s])
        return cls(transaction, history_length, position, past, steps, padded_time)

    def __len__(self) -> int:
        return len(self.transaction)

    def earlier(self, rows: npt.NDArray[np.integer]) -> Ints:
        """int64[m]: how many transactions of the same customer came before each of rows."""
        past: Ints = self._past[self._position[rows]]
        return past

    def history(self, rows: npt.NDArray[np.integer]) -> Floats:
        """The K transactions of the same customer before each of rows int[m], oldest first.

        Gives float32[m, K, 7], columns HISTORY_FEATURES; where there are fewer than K, the
        front is zeros. Gathered on demand: for all rows it would be gigabytes.
        """
        length, width = self.history_length, len(HISTORY_FEATURES)
        position = self._position[rows]
        # A customer's rows lie together, so a history is one contiguous slice.
        windows = np.lib.stride_tricks.sliding_window_view(self._steps.ravel(), length * width)
        steps: Floats = windows[::width][position].reshape(len(position), length, width)
        times = np.lib.stride_tricks.sliding_window_view(self._time_s, length)[position]
        age_s = (self._time_s[position + length][:, None] - times).astype(np.float32)
        absent = np.arange(length) < length - self._past[position][:, None]
        age_s[absent] = 0  # another customer's time: the difference may be below zero
        steps[:, :, _BEFORE_CURRENT] = np.log1p(age_s / _HOUR_S)
        steps[absent] = 0
        return steps


def _steps(transaction: Floats, time_s: Ints, past: Ints) -> Floats:
    """float32[n, 7]: each transaction as a step of a history, all in order of (customer, time)."""
    gap_h = np.diff(time_s, prepend=0) / _HOUR_S
    gap_h[past == 0] = NO_PREVIOUS_HOURS
    column = dict(zip(TRANSACTION_FEATURES, transaction.T, strict=True))
    steps = np.empty((len(time_s), len(HISTORY_FEATURES)), np.float32)
    steps[:, 0] = 1
    steps[:, 1] = column["log_amount"]
    steps[:, _BEFORE_CURRENT] = 0  # depends on the current transaction: set by `history`
    steps[:, 3] = np.log1p(gap_h)
    steps[:, 4] = column["dx"]
    steps[:, 5] = column["dy"]
    steps[:, 6] = column["terminal_risk_7d"]
    return steps


def _transaction_features(tx: Transactions, by_customer: Ints) -> Floats:
    """float32[n, 20] in the order of tx; by_customer int64[n] sorts rows by (customer, time)."""
    out = np.empty((len(tx), len(TRANSACTION_FEATURES)), np.float32)
    log_amount = np.log1p(tx.amount)
    out[:, 0] = log_amount
    # 1970-01-01 was a Thursday: day 0 of the epoch is weekday 3.
    out[:, 1] = (tx.datetime.astype("datetime64[D]").astype(np.int64) + 3) % 7 >= 5
    out[:, 2] = tx.datetime.astype(np.int64) % DAY_S // _HOUR_S <= 6
    _customer_features(out, tx, by_customer)
    _terminal_features(out, tx)
    offset = tx.terminal_xy[tx.terminal] - tx.customer_xy[tx.customer]
    out[:, 18:20] = offset
    return out


def _customer_features(out: Floats, tx: Transactions, order: Ints) -> None:
    """Counts, mean amounts and ratios over (t - window, t], the current one included."""
    windows = _Windows(tx.customer[order], tx.time_seconds[order])
    amount = tx.amount[order]
    total = np.concatenate([[0.0], np.cumsum(amount)])
    end = np.arange(1, len(order) + 1)
    for i, days in enumerate(WINDOW_DAYS):
        start = windows.first_after(days)
        count = end - start
        mean = np.maximum((total[end] - total[start]) / count, 0)
        out[order, 3 + i] = np.log1p(count)
        out[order, 6 + i] = np.log1p(mean)
        # Purchases of nothing have a mean of nothing: then the ratio is that of any equal ones.
        ratio = np.divide(amount, mean, out=np.ones_like(mean), where=mean > 1e-6)
        out[order, 15 + i] = np.log1p(ratio)


def _terminal_features(out: Floats, tx: Transactions) -> None:
    """Counts and fraud rates over (t - delay - window, t - delay]; an empty window is 0."""
    order = np.argsort(tx.terminal, kind="stable")
    windows = _Windows(tx.terminal[order], tx.time_seconds[order])
    frauds = np.concatenate([[0], np.cumsum(tx.fraud[order])])
    end = windows.first_after(LABEL_DELAY_DAYS)
    for i, days in enumerate(WINDOW_DAYS):
        start = windows.first_after(LABEL_DELAY_DAYS + days)
        count = end - start
        out[order, 9 + i] = np.log1p(count)
        out[order, 12 + i] = (frauds[end] - frauds[start]) / np.maximum(count, 1)


class _Windows:
    """Time windows within each group of rows sorted by (group, time)."""

    def __init__(self, group: npt.NDArray[np.int32], time_s: Ints) -> None:
        origin = int(time_s.min(initial=0))
        # Groups so far apart that no window of 37 days reaches from one into another.
        span = int(time_s.max(initial=0)) - origin + 40 * DAY_S
        self._key = group.astype(np.int64) * span + (time_s - origin)

    def first_after(self, days: int) -> Ints:
        """int64[n]: the first position of the row's own group later than `days` before the row."""
        return np.searchsorted(self._key, self._key - days * DAY_S, side="right")
