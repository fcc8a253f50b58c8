"""Gathers what happens to each request of a run.

While the run lasts only integers are appended; histograms are made afterwards, because recording
into one costs as much as a tenth of sending the request.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from typing import Protocol

from loadtest.histogram import LatencyHistogram

OK, REJECTED = 200, 429
_CHECK_EVERY = 64


class Observer(Protocol):
    """Told about every request of an open loop; all times are `time.monotonic` seconds."""

    def answered(
        self, intended: float, started: float, ended: float, status: int, body: bytes
    ) -> None:
        """`status` is the HTTP status, or 0 where the connection broke."""
        ...

    def unfinished(self, intended: float, started: float, ended: float) -> None:
        """The run ended while the answer was awaited."""
        ...

    def dropped(self, count: int) -> None:
        """The pool was full; so many requests were not sent."""
        ...


def variant_of(body: bytes) -> str:
    """`parameters.variant` of a response body, or '' where it names none."""
    try:
        parameters = json.loads(body).get("parameters") or {}
        return str(parameters.get("variant", ""))
    except (ValueError, AttributeError):
        return ""


class Recorder:
    """Observer that keeps response time, service time and lag of every request, µs.

    `over_seconds` is a response time; `over` counts the requests beyond it.
    """

    def __init__(self, over_seconds: float | None = None) -> None:
        self.response, self.service, self.lag = array("q"), array("q"), array("q")
        self.statuses: Counter[int] = Counter()
        self.answered_by: Counter[str] = Counter()
        self.n_unfinished = 0
        self.n_dropped = 0
        self.over = 0
        self._over_microseconds = int(over_seconds * 1e6) if over_seconds else None

    def answered(
        self, intended: float, started: float, ended: float, status: int, body: bytes
    ) -> None:
        self.statuses[status] += 1
        if status != OK:
            return
        # A look into every answer would cost more than reading it: the first and every 64th.
        if self.statuses[OK] % _CHECK_EVERY == 1:
            self.answered_by[variant_of(body)] += 1
        self._append(intended, started, ended)

    def unfinished(self, intended: float, started: float, ended: float) -> None:
        self.n_unfinished += 1
        self._append(intended, started, ended)

    def dropped(self, count: int) -> None:
        self.n_dropped += count

    def _append(self, intended: float, started: float, ended: float) -> None:
        response = int((ended - intended) * 1e6)
        self.response.append(response)
        self.service.append(int((ended - started) * 1e6))
        self.lag.append(int((started - intended) * 1e6))
        if self._over_microseconds is not None and response > self._over_microseconds:
            self.over += 1

    @property
    def sent(self) -> int:
        """Requests sent."""
        return self.statuses.total() + self.n_unfinished

    def fold(self) -> dict[str, LatencyHistogram]:
        """Histograms of what was gathered since the last fold, by name; clears the samples."""
        folded = {}
        for name in ("response", "service", "lag"):
            histogram = LatencyHistogram()
            values: array[int] = getattr(self, name)
            histogram.record_all(values)
            del values[:]
            folded[name] = histogram
        return folded
