"""Latency of several models on a machine whose speed drifts: in turns, round by round.

A machine shared with others is half as fast in one minute as in the next. So every model is
called in every round, one slice of time each, and models are compared within a round: what slows
a round down is in both sides of its ratio. The order turns with the rounds, so that no model
always runs in another's wake. Intervals come from a bootstrap over rounds: what differs between
the calls of a round is not independent, what differs between rounds nearly is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.graphs.latency import call_seconds
from compression.quality.bootstrap import INTERVAL
from compression.store import Estimate
from compression.training.scoring import Report, nothing

Seconds = npt.NDArray[np.float64]
Call = Callable[[int], object]
"""One inference on the first so many sample rows."""

WARM_UP_CALLS = 3
MIN_CALLS = 5
"""In a slice, however short it is."""
REPLICATES = 2000


@dataclass(frozen=True)
class Rounds:
    """One model at one batch size. Each array is float64[rounds], in seconds per call."""

    rows: int
    p50_seconds: Seconds
    p99_seconds: Seconds
    mean_seconds: Seconds
    calls: int
    """Of all rounds together."""

    @property
    def rows_per_second(self) -> Seconds:
        """Rows scored per second, one call after the other, float64[rounds]."""
        return self.rows / self.mean_seconds


def measure_rounds(
    calls: Mapping[str, Call],
    rows: Sequence[int],
    *,
    rounds: int,
    slice_seconds: float,
    report: Report = nothing,
) -> dict[str, dict[int, Rounds]]:
    """Measure every model at every batch size; gives rounds by model and by batch size.

    A slice ends after `slice_seconds`, but not before MIN_CALLS calls. The caller sees to it that
    models run on one thread.
    """
    names = list(calls)
    taken: dict[tuple[str, int], list[Seconds]] = {(n, size): [] for n in names for size in rows}
    done = 0
    for turn in range(rounds):
        first = turn % len(names)
        for size in rows:
            for name in (*names[first:], *names[:first]):
                taken[name, size].append(
                    call_seconds(
                        calls[name],
                        size,
                        slice_seconds,
                        warm_up_calls=WARM_UP_CALLS,
                        min_calls=MIN_CALLS,
                    )
                )
                done += 1
                report(done, rounds * len(taken))
    return {name: {size: _summed_up(size, taken[name, size]) for size in rows} for name in names}


def _summed_up(rows: int, slices: Sequence[Seconds]) -> Rounds:
    p50, p99 = (np.array([np.percentile(one, q) for one in slices]) for q in (50, 99))
    means = np.array([one.mean() for one in slices])
    return Rounds(rows, p50, p99, means, sum(map(len, slices)))


def over_rounds(figures: Seconds, seed: int = 0) -> Estimate:
    """Median of a figure float64[rounds], and its 95 % interval by a bootstrap over rounds."""
    generator = np.random.default_rng(seed)
    drawn = generator.choice(figures, (REPLICATES, len(figures)))
    low, high = np.percentile(np.median(drawn, axis=1), INTERVAL)
    return Estimate(value=float(np.median(figures)), low=float(low), high=float(high))


def times_faster(model: Rounds, reference: Rounds) -> Estimate:
    """The reference's p50 divided by the model's, round by round."""
    return over_rounds(reference.p50_seconds / model.p50_seconds)


def times_the_rate(model: Rounds, reference: Rounds) -> Estimate:
    """The model's rows per second divided by the reference's, round by round."""
    return over_rounds(model.rows_per_second / reference.rows_per_second)
