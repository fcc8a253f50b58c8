"""Rows of a window, all of them or a weighted draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.workloads.base import Rows, Workload


@dataclass(frozen=True)
class WeightedRows:
    """Rows int64[n] and how many each stands for, float64[n]."""

    rows: Rows
    weights: npt.NDArray[np.float64]

    @property
    def complete(self) -> bool:
        """Whether each row stands for itself alone."""
        return bool((self.weights == 1).all())


def all_or_drawn(
    workload: Workload, window: Rows, negatives: int | None, seed: int
) -> WeightedRows:
    """Every rare row of a window and `negatives` drawn others, weighted up to all of them."""
    rare = workload.head.rare(workload.labels[window])
    positives, others = window[rare], window[~rare]
    if negatives is None or negatives >= len(others):
        return WeightedRows(window, np.ones(len(window)))
    drawn = np.random.default_rng(seed).choice(others, negatives, replace=False)
    rows = np.concatenate((positives, np.sort(drawn)))
    weights = np.concatenate((np.ones(len(positives)), np.full(negatives, len(others) / negatives)))
    return WeightedRows(rows, weights)
