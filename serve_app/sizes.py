"""How many rows a variant takes at a time, where nobody said: from how fast it is here.

A batch is a piece of time that nobody else gets. Counted in rows alone, what is right for a model
of 5 ms a row (64 rows are a third of a second) starves one of 3 µs: 64 rows are over before the
next 64 are decoded, and 256 that wait are a millisecond's work, which 16 clients with 32 rows each
exceed. So batch and queue are bounded by time, and the numbers below are their least.
"""

from __future__ import annotations

from typing import NamedTuple

BATCH_ROWS = 64
QUEUED_ROWS = 256
"""The least by default: of a slow model, or one that was not timed yet."""
MOST_BATCH_ROWS = 1024
MOST_QUEUED_ROWS = 4096
"""The most by default. Requests that wait are decoded and hold memory, 1 kB a row and more."""

_BATCH_SECONDS = 1.8e-3
"""Longest batch. A batch that is computed aside costs some tenths of a millisecond to hand over and
to take back, however long it is. The student of the demo takes 2.8 to 5.5 µs a row, by the machine
and by what starts beside it: so it gets 256 rows or 512. Of requests of 32 rows in bytes, from 16
and 64 connections, it served 0.83 and 0.89 of what a loop without a server does with 256 rows, 0.84
and 0.95 with 512, 0.67 and 0.73 with 128 (medians of seven interleaved rounds, 3.7 µs a row)."""
_QUEUED_SHARE = 0.25
"""Of the time limit: who waits behind a full queue is still answered in time."""
_DIRECT_SECONDS = 100e-6
"""Longest inference that may hold up the event loop: about the way to a thread and back, 65-75 µs.
Longer ones are worth it, for the loop decodes the next requests meanwhile: of requests of 32 rows
from 16 connections, with a model of 128 µs for them, 5,800 a second instead of 5,200."""

_LANES = 2
_SHORT_SECONDS = 2e-3
"""Longest full batch that may have another under way with it. Of longer ones what the way aside and
back takes is a small part, and a second core is for whoever configures `intra_op_threads` to give
them."""


class Sizes(NamedTuple):
    """Of one variant where it is computed, chosen or configured."""

    batch_rows: int
    queued_rows: int


def batch_rows_for(seconds_per_row: float) -> int:
    """Rows of a batch: a power of two that takes `_BATCH_SECONDS` at most, within the limits."""
    rows = BATCH_ROWS
    while 2 * rows <= MOST_BATCH_ROWS and 2 * rows * seconds_per_row <= _BATCH_SECONDS:
        rows *= 2
    return rows


def queued_rows_for(seconds_per_row: float, timeout_seconds: float) -> int:
    """Rows that may wait: what is computed in a quarter of the time limit, within the limits."""
    rows = _QUEUED_SHARE * timeout_seconds / max(seconds_per_row, 1e-9)
    return int(min(max(rows, QUEUED_ROWS), MOST_QUEUED_ROWS))


def direct_rows_for(seconds_per_call: float, seconds_per_row: float) -> int:
    """How many rows a batch may have to be computed on the event loop.

    A model of 50 µs plus 10 µs a row: 1 + (100 - 50) / 10 = 6 rows.
    """
    if seconds_per_call > _DIRECT_SECONDS:
        return 0
    return 1 + int((_DIRECT_SECONDS - seconds_per_call) / max(seconds_per_row, 1e-6))


def is_short(seconds_per_call: float, seconds_per_row: float, batch_rows: int) -> bool:
    """Whether the way aside and back is a large part of a batch of `batch_rows` rows."""
    return seconds_per_call + seconds_per_row * batch_rows <= _SHORT_SECONDS


def lanes_for(seconds_per_call: float, seconds_per_row: float, batch_rows: int) -> int:
    """How many batches of `batch_rows` rows may be under way at once."""
    return _LANES if is_short(seconds_per_call, seconds_per_row, batch_rows) else 1
