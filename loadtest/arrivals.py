"""When requests are sent: arrival processes of the open loop.

A process lays out one window at a time, so that a run of unknown length walks window after window
and a run of known length has exactly `round(rate · seconds)` requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loadtest.errors import OptionError


class ArrivalProcess(Protocol):
    """Lays out the send times of one window."""

    def times(
        self, count: int, seconds: float, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        """`count` rising times in [0, seconds), seconds from the window's start."""
        ...


class Poisson:
    """Independent callers: exponential gaps, given how many fall into the window.

    A Poisson process conditioned on its count is `count` uniform times in order. Fixing the count
    keeps the local bursts and takes away the noise of the rate itself, which at 100 req/s over 5 s
    would be ±4.5 % from draw to draw.
    """

    def times(
        self, count: int, seconds: float, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        return np.sort(rng.uniform(0.0, seconds, count))


class Constant:
    """A clock: equal gaps, no bursts. Kinder to the server than real traffic."""

    def times(
        self, count: int, seconds: float, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        return np.arange(count, dtype=np.float64) * np.float64(seconds / max(count, 1))


ARRIVALS: dict[str, ArrivalProcess] = {"poisson": Poisson(), "constant": Constant()}


def schedule(
    arrival: str, rate_per_second: float, seconds: float, seed: int
) -> npt.NDArray[np.float64]:
    """Send times of a whole run, seconds from its start; the same for the same seed.

    Raises:
        OptionError: unknown process, or a rate or duration that is not positive.
    """
    if arrival not in ARRIVALS:
        raise OptionError(f"arrival process {arrival!r}: choose from {', '.join(ARRIVALS)}")
    if rate_per_second <= 0 or seconds <= 0:
        raise OptionError(f"rate and duration must be positive: {rate_per_second}, {seconds}")
    count = max(1, round(rate_per_second * seconds))
    return ARRIVALS[arrival].times(count, seconds, np.random.default_rng(seed))


def endless(
    arrival: str, rate_per_second: float, seed: int, window_seconds: float = 5.0
) -> Iterator[float]:
    """Send times without end, window after window, each drawn from `seed` and its number."""
    window = 0
    carried = 0.0
    while True:
        # Carry the fraction over, so that 0.5 req/s is not rounded to none in every window.
        exact = rate_per_second * window_seconds + carried
        count = int(exact)
        carried = exact - count
        rng = np.random.default_rng([seed, window])
        for offset in ARRIVALS[arrival].times(count, window_seconds, rng):
            yield window * window_seconds + float(offset)
        window += 1
