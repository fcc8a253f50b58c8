"""How far a variant's scores lie from the original's."""

from __future__ import annotations

import numpy as np

from compression.quality.ranking import Scores, Weights
from compression.store import ScoreDifferences

STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Edges on either side of 0: a change of 0.2 and one of 0.002 must both be seen."""


def score_differences(
    original: Scores, variant: Scores, weights: Weights | None = None
) -> ScoreDifferences:
    """Weighted histogram of `variant - original`, and how large the differences are.

    Scores float[n]; the outermost edges are ±1, further out where a difference is larger.
    """
    moved = variant.astype(np.float64) - original.astype(np.float64)
    mass = np.ones(len(moved)) if weights is None else weights
    size = np.abs(moved)
    outermost = max(1.0, float(size.max()))
    edges = (-outermost, *(-step for step in reversed(STEPS)), *STEPS, outermost)
    counts, _ = np.histogram(moved, np.array(edges), weights=mass)
    order = np.argsort(size)
    reached = np.cumsum(mass[order]) / mass.sum()
    median, p99 = (
        float(size[order][min(int(np.searchsorted(reached, q)), len(size) - 1)])
        for q in (0.5, 0.99)
    )
    return ScoreDifferences(
        edges=edges,
        shares=tuple((counts / mass.sum()).tolist()),
        median=median,
        p99=p99,
        largest=float(size.max()),
    )
