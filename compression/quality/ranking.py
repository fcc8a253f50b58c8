"""Rows sorted once by one model's score, to be weighed again and again.

Sorting is what a rank metric costs. A bootstrap changes only the weights of rows, so it sorts
each model once and asks for a `Curve` a replicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]
Weights = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_ROUNDING = 1e-12
"""Relative slack when a sum of weights is held against a bound."""


@dataclass(frozen=True)
class Curve:
    """Weighted counts at every distinct score of a positive, g of them, from high to low."""

    true_positives: Weights
    """float64[g]: weight of the positives with this score or a higher one."""
    false_positives: Weights
    """float64[g]: weight of the negatives with this score or a higher one."""
    false_positives_above: Weights
    """float64[g]: weight of the negatives with a higher score."""
    positives: float
    negatives: float

    def average_precision(self) -> float:
        """Sum over distinct scores of precision times the recall gained; NaN without positives.

        As `sklearn.metrics.average_precision_score`: rows of equal score are taken together.
        """
        if self.positives <= 0:
            return float("nan")
        alerts = self.true_positives + self.false_positives
        # A replicate may leave a score without any row: nothing is gained there.
        precision = self.true_positives / np.where(alerts > 0, alerts, 1.0)
        gained = np.diff(self.true_positives, prepend=0.0)
        return float(gained @ precision / self.positives)

    def auc(self) -> float:
        """Probability that a positive scores above a negative, ties count half.

        NaN without positives or without negatives.
        """
        if self.positives <= 0 or self.negatives <= 0:
            return float("nan")
        gained = np.diff(self.true_positives, prepend=0.0)
        beaten = self.negatives - (self.false_positives + self.false_positives_above) / 2
        return float(gained @ beaten / (self.positives * self.negatives))

    def recall_at_fpr(self, fpr: float) -> float:
        """Highest recall of a threshold whose false-positive rate is at most `fpr` (0 to 1).

        A threshold is a score that occurs: there is no interpolation. NaN as for `auc`.
        """
        if self.positives <= 0 or self.negatives <= 0:
            return float("nan")
        allowed = fpr * self.negatives * (1 + _ROUNDING)
        reached = int(np.searchsorted(self.false_positives, allowed, side="right"))
        return float(self.true_positives[reached - 1] / self.positives) if reached else 0.0


@dataclass(frozen=True)
class Ranking:
    """p positives and q negatives of one model from high to low score.

    Only the scores of positives matter to the metrics here: between two of them recall does not
    change. So a curve has at most p points, however many negatives there are.
    """

    thresholds: Scores
    """[g], dtype of the scores: distinct scores of positives, falling."""
    positives: Index
    """int64[p]: rows."""
    negatives: Index
    """int64[q]: rows."""
    positives_at: Index
    """int64[g]: number of positives with a score of at least the threshold."""
    negatives_at: Index
    """int64[g]: number of negatives with a score of at least the threshold."""
    negatives_above: Index
    """int64[g]: number of negatives with a score above the threshold."""

    @classmethod
    def of(cls, labels: Labels, scores: Scores) -> Ranking:
        """Sort rows by scores[n]; labels bool[n]. NaN among the scores is a ValueError."""
        if labels.shape != scores.shape or labels.ndim != 1:
            raise ValueError(f"labels{labels.shape} and scores{scores.shape} must be of one length")
        if np.isnan(scores).any():
            raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
        positives, positive_keys = _falling(np.flatnonzero(labels), scores)
        negatives, negative_keys = _falling(np.flatnonzero(~labels), scores)
        keys = np.unique(positive_keys)
        return cls(
            thresholds=-keys,
            positives=positives,
            negatives=negatives,
            positives_at=np.searchsorted(positive_keys, keys, side="right"),
            negatives_at=np.searchsorted(negative_keys, keys, side="right"),
            negatives_above=np.searchsorted(negative_keys, keys, side="left"),
        )

    def curve(self, weights: Weights | None = None) -> Curve:
        """Counts under row weights float64[n], at least 0; None counts each row once."""
        if weights is None:
            return Curve(
                self.positives_at.astype(np.float64),
                self.negatives_at.astype(np.float64),
                self.negatives_above.astype(np.float64),
                float(len(self.positives)),
                float(len(self.negatives)),
            )
        positives = _summed(weights, self.positives)
        negatives = _summed(weights, self.negatives)
        return Curve(
            positives[self.positives_at],
            negatives[self.negatives_at],
            negatives[self.negatives_above],
            float(positives[-1]),
            float(negatives[-1]),
        )


def _falling(rows: Index, scores: Scores) -> tuple[Index, Scores]:
    """Rows by falling score, and their negated scores, which rise."""
    keys = -scores[rows]
    order = np.argsort(keys)
    return rows[order], keys[order]


def _summed(weights: Weights, rows: Index) -> Weights:
    """float64[len(rows) + 1]: sums of the weights of the first 0, 1, … rows."""
    sums = np.zeros(len(rows) + 1)
    np.cumsum(weights[rows], out=sums[1:])
    return sums
