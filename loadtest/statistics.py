"""Ratios between variants, with intervals where there are repeats enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtest.documents import Document

FEWEST_ROUNDS = 5
"""Below this a bootstrap over rounds says nothing."""


class Ratio(Document):
    """variant ÷ original, with its 95 % interval, or None where repeats are too few."""

    value: float
    low: float | None = None
    high: float | None = None


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that are there."""
    present = [value for value in values if value is not None]
    return float(np.median(present)) if present else None


def paired_ratio(
    variant: Sequence[float | None],
    original: Sequence[float | None],
    *,
    seed: int = 0,
    draws: int = 2000,
) -> Ratio | None:
    """Ratio of medians over rounds, bootstrapped by drawing whole rounds.

    Rounds are interleaved, so what disturbed the machine in a round disturbed both; drawing pairs
    keeps that together. None where no round has both values.
    """
    pairs = [
        (v, o) for v, o in zip(variant, original, strict=False) if v is not None and o is not None
    ]
    if not pairs:
        return None
    table = np.asarray(pairs, dtype=np.float64)
    base = float(np.median(table[:, 1]))
    if base <= 0.0:
        return None
    value = float(np.median(table[:, 0])) / base
    if len(pairs) < FEWEST_ROUNDS:
        return Ratio(value=value)
    index = np.random.default_rng(seed).integers(0, len(pairs), (draws, len(pairs)))
    medians = np.median(table[index], axis=1)
    ratios = medians[:, 0] / np.maximum(medians[:, 1], 1e-12)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Ratio(value=value, low=float(low), high=float(high))
