"""How fast a variant computes, from the batches it has computed."""

from __future__ import annotations

import math

_WEIGHT = 0.2
"""Of the newest batch in the averages: five batches back counts for a third."""
_LONGEST_RETRY_SECONDS = 60


class Pace:
    """Moving averages of rows and seconds per batch."""

    def __init__(self) -> None:
        self.batch_seconds = 0.0
        """What the next batch will take at least, the lower of the average and the last one: one
        slow batch must not speak for the next. 0 before the first."""
        self._rows = 0.0
        self._seconds = 0.0

    def batch(self, rows: int, seconds: float) -> None:
        """A batch of `rows` rows took `seconds`."""
        if self._rows:
            self._rows += _WEIGHT * (rows - self._rows)
            self._seconds += _WEIGHT * (seconds - self._seconds)
        else:
            self._rows, self._seconds = float(rows), seconds
        self.batch_seconds = seconds if seconds < self._seconds else self._seconds

    def retry_after_seconds(self, rows: int) -> int:
        """When `rows` rows that wait now will be done: whole seconds, from 1 to 60."""
        if not self._rows:
            return 1
        return max(1, min(_LONGEST_RETRY_SECONDS, math.ceil(rows * self._seconds / self._rows)))
