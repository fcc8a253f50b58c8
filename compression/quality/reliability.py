"""Is a score of 0.3 positive three times in ten? Points of a reliability diagram."""

from __future__ import annotations

import math

import numpy as np

from compression.quality.ranking import Labels, Scores, Weights
from compression.store import ReliabilityBin

BINS = 12
Z = 1.959964
"""Of a 95 % interval."""


def reliability(
    labels: Labels, scores: Scores, weights: Weights | None = None, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Mean score and observed frequency in bins by score, from low to high.

    labels bool[n], scores float[n] probabilities, weights float64[n] or None. Bins are of equal
    mass when positives and negatives count for one half each: with a rare event, bins of equal
    numbers of rows would put nearly all positives into the last. Rows of equal score share a bin.
    Intervals are Wilson's (1927), of Kish's effective number of rows where rows are weighted.
    """
    mass = np.ones(len(labels)) if weights is None else weights
    values, group = np.unique(scores, return_inverse=True)
    share = np.where(labels, mass / mass[labels].sum(), mass / mass[~labels].sum()) / 2
    group_share = np.bincount(group, share, len(values))
    middle = np.cumsum(group_share) - group_share / 2
    which = np.minimum((middle * bins).astype(np.int64), bins - 1)[group]
    return tuple(
        _bin(labels[inside], scores[inside].astype(np.float64), mass[inside])
        for inside in (which == number for number in np.unique(which))
    )


def _bin(labels: Labels, scores: Weights, mass: Weights) -> ReliabilityBin:
    observed = float(np.average(labels, weights=mass))
    low, high = wilson(observed, float(mass.sum() ** 2 / (mass**2).sum()))
    return ReliabilityBin(
        rows=len(labels),
        predicted=float(np.average(scores, weights=mass)),
        observed=observed,
        low=low,
        high=high,
    )


def wilson(share: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share that was observed in `rows` rows."""
    spread = Z * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    middle = share + Z**2 / (2 * rows)
    scale = 1 + Z**2 / rows
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
