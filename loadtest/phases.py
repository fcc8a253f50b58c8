"""An open-loop run whose rate changes, and what became of the requests of every moment.

Requests are counted in the window in which they were meant to leave, not in the one in which they
were answered: so what an overload left behind shows in the windows after it.
"""

from __future__ import annotations

import contextlib
import resource
import time
from array import array
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat, PositiveInt

from loadtest.arrivals import schedule
from loadtest.documents import Document
from loadtest.recorder import OK, REJECTED

_UNFINISHED, _DROPPED = -1, -2
_OPEN_FILES = 16_384


class Phase(Document):
    """A stretch of one rate."""

    name: str
    rate_per_second: PositiveFloat
    duration_seconds: PositiveFloat


class PhasedSpec(Document):
    """Phases, one after another without a pause."""

    phases: tuple[Phase, ...]
    variant: str = ""
    arrival: str = "poisson"
    seed: int = 0
    max_in_flight: PositiveInt = 4096
    """Size of the pool; a request that finds it full is dropped, never delayed."""
    window_seconds: PositiveFloat = 0.25
    deadline_seconds: PositiveFloat = 1.0
    """An answer that comes later, counted from the intended send, is late and not good."""
    drain_seconds: PositiveFloat = 2.0


class Stretch(Document):
    """The requests that were meant to leave within a time, from `start_seconds` of the run on."""

    start_seconds: float
    duration_seconds: float
    scheduled: int
    good: int
    """Answered 200 within the deadline."""
    late: int
    """Answered 200 after it."""
    rejected: int
    """Answered 429."""
    failed: int
    """Any other status, or the connection broke."""
    unfinished: int
    """Without an answer when the run ended."""
    dropped: int
    """Never sent: every connection of the pool was waiting."""
    p50_seconds: float | None
    p99_seconds: float | None
    """Response time of all answered 200, late ones too, from the intended send; None of none."""
    lag_p99_seconds: float | None
    """Lateness of the generator itself."""

    @property
    def goodput_per_second(self) -> float:
        """Good answers by the seconds in which they were asked for."""
        return self.good / self.duration_seconds


class PhasedResult(Document):
    """A run: as a whole by phase, and window by window."""

    spec: PhasedSpec
    phases: tuple[Stretch, ...]
    windows: tuple[Stretch, ...]
    statuses: dict[str, int]
    generator_cpu_share: float


def phase_times(spec: PhasedSpec) -> npt.NDArray[np.float64]:
    """Send times of the whole run, seconds from its start, rising."""
    starts = np.cumsum([0.0, *(phase.duration_seconds for phase in spec.phases)])
    laid_out = [
        start + schedule(spec.arrival, one.rate_per_second, one.duration_seconds, spec.seed + n)
        for n, (start, one) in enumerate(zip(starts, spec.phases, strict=False))
    ]
    return np.concatenate(laid_out)


class PhaseRecorder:
    """Observer that keeps moment, status and times of every request."""

    def __init__(self) -> None:
        self._moments, self._statuses = array("d"), array("q")
        self._responses, self._lags = array("d"), array("d")

    def answered(
        self, intended: float, started: float, ended: float, status: int, body: bytes
    ) -> None:
        """See `Observer.answered`."""
        self._append(intended, status, ended - intended, started - intended)

    def unfinished(self, intended: float, started: float, ended: float) -> None:
        """See `Observer.unfinished`."""
        self._append(intended, _UNFINISHED, ended - intended, started - intended)

    def dropped(self, count: int) -> None:
        """See `Observer.dropped`; they were meant to leave about now."""
        now = time.monotonic()
        for _ in range(count):
            self._append(now, _DROPPED, 0.0, 0.0)

    def _append(self, moment: float, status: int, response: float, lag: float) -> None:
        self._moments.append(moment)
        self._statuses.append(status)
        self._responses.append(response)
        self._lags.append(lag)

    def result(
        self, spec: PhasedSpec, times: npt.NDArray[np.float64], generator_cpu_share: float
    ) -> PhasedResult:
        """What was gathered, by phase and by window; `times` is the schedule that was walked."""
        moments = np.asarray(self._moments)
        moments = moments - (moments.min() - times[0]) if len(moments) else moments
        table = _Table(
            moments, np.asarray(self._statuses), np.asarray(self._responses),
            np.asarray(self._lags), spec.deadline_seconds,
        )  # fmt: skip
        ends = np.cumsum([0.0, *(phase.duration_seconds for phase in spec.phases)])
        count = max(1, round(float(ends[-1]) / spec.window_seconds))
        edges = np.linspace(0.0, float(ends[-1]), count + 1)
        statuses, counts = np.unique(table.statuses, return_counts=True)
        named = zip(statuses.tolist(), counts.tolist(), strict=True)
        return PhasedResult(
            spec=spec,
            phases=tuple(table.stretch(a, b) for a, b in pairwise(ends)),
            windows=tuple(table.stretch(a, b) for a, b in pairwise(edges)),
            statuses={str(status): count for status, count in named if status >= 0},
            generator_cpu_share=generator_cpu_share,
        )


class _Table:
    """All requests of a run as columns."""

    def __init__(
        self,
        moments: npt.NDArray[np.float64],
        statuses: npt.NDArray[np.int64],
        responses: npt.NDArray[np.float64],
        lags: npt.NDArray[np.float64],
        deadline_seconds: float,
    ) -> None:
        self._moments, self.statuses = moments, statuses
        self._responses, self._lags = responses, lags
        self._deadline_seconds = deadline_seconds

    def stretch(self, start: float, end: float) -> Stretch:
        """The requests of [start, end)."""
        inside = (self._moments >= start) & (self._moments < end)
        statuses, lags = self.statuses[inside], self._lags[inside]
        responses = self._responses[inside][statuses == OK]
        good = int((responses <= self._deadline_seconds).sum())
        counted = {s: int((statuses == s).sum()) for s in (REJECTED, _UNFINISHED, _DROPPED)}
        return Stretch(
            start_seconds=float(start),
            duration_seconds=float(end - start),
            scheduled=len(statuses),
            good=good,
            late=len(responses) - good,
            rejected=counted[REJECTED],
            failed=len(statuses) - len(responses) - sum(counted.values()),
            unfinished=counted[_UNFINISHED],
            dropped=counted[_DROPPED],
            p50_seconds=_quantile(responses, 0.50),
            p99_seconds=_quantile(responses, 0.99),
            lag_p99_seconds=_quantile(lags[statuses != _DROPPED], 0.99),
        )


def _quantile(values: npt.NDArray[Any], quantile: float) -> float | None:
    return float(np.quantile(values, quantile)) if len(values) else None


def raise_file_limit() -> None:
    """A pool of thousands of connections needs as many files; the system may allow fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # then the pool's drops say so
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
