"""Is a calibration set like the training window? Ranges fixed on other data clip what is served.

Per feature two measures: the population stability index over the training window's deciles, the
field's usual figure (under 0.1 no shift, over 0.25 a large one), and the share of values outside
the training window's 0.1 to 99.9 % range. A small set differs by chance; both bounds allow for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.training.rows import Inputs

DECILES = np.arange(1, 10) / 10
CHANCE_INDEX = 34.0
"""Of 10 bins and n rows against m, chance alone gives an index under 34·(1/n + 1/m) in 9,999 of
10,000 cases: it is distributed as chi-squared with 9 degrees of freedom times (1/n + 1/m)."""
OUTSIDE_QUANTILES = (0.001, 0.999)
OUTSIDE_SHARE, OUTSIDE_ROWS = 0.05, 3
"""Allowed outside the range: this share, and this many rows of any set."""

Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Drift:
    """How far one feature of one input is from the training window, and how far it may be."""

    input: str
    feature: int
    index: float
    index_bound: float
    outside: float
    outside_bound: float
    training_range: tuple[float, float]
    """The training window's 0.1 and 99.9 % quantiles."""
    given_range: tuple[float, float]
    """The set's smallest and largest value."""

    @property
    def too_far(self) -> bool:
        """Whether one of the two bounds is broken."""
        return self.index > self.index_bound or self.outside > self.outside_bound

    def __str__(self) -> str:
        return (
            f"input {self.input!r}, feature {self.feature}: population stability index "
            f"{self.index:.2f} (bound {self.index_bound:.2f}), {self.outside:.1%} of values "
            f"outside the training window's 0.1 to 99.9 % range {self.training_range[0]:.6g} to "
            f"{self.training_range[1]:.6g} (bound {self.outside_bound:.1%}); the set has "
            f"{self.given_range[0]:.6g} to {self.given_range[1]:.6g}"
        )


def drifts(given: Inputs, training: Inputs, max_index: float) -> Iterator[Drift]:
    """One per feature of every input; both batch first, with the same inputs."""
    for name, reference in training.items():
        rows = len(given[name])
        index_bound = max_index + CHANCE_INDEX * (1 / rows + 1 / len(reference))
        outside_bound = OUTSIDE_SHARE + OUTSIDE_ROWS / rows
        columns = zip(features(given[name]), features(reference), strict=True)
        for feature, (column, expected) in enumerate(columns):
            low, high = (float(q) for q in np.quantile(expected, OUTSIDE_QUANTILES))
            yield Drift(
                name,
                feature,
                stability_index(column, expected),
                index_bound,
                float(((column < low) | (column > high)).mean()),
                outside_bound,
                (low, high),
                (float(column.min()), float(column.max())),
            )


def features(array: npt.NDArray[np.generic]) -> Values:
    """[features, values] of an input [n, …].

    The last axis of rows and of sequences holds features; of images [n, c, h, w], the second.
    """
    if array.ndim == 1:
        return array[None].astype(np.float64)
    axis = 1 if array.ndim == 4 else array.ndim - 1
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(len(moved), -1).astype(np.float64)


def stability_index(given: Values, expected: Values) -> float:
    """Population stability index of values [a] against [b], over deciles of the latter.

    Σ (p - q)·ln(p / q) over bins; half a value is added to each bin, so that none is empty.
    """
    edges = np.unique(np.quantile(expected, DECILES))
    p, q = (_shares(values, edges) for values in (given, expected))
    return float(((p - q) * np.log(p / q)).sum())


def _shares(values: Values, edges: Values) -> Values:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    shares: Values = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return shares
