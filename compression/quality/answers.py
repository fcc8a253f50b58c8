"""What several models say about the same rows, and how each decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.quality.calibration import decisions
from compression.quality.metrics import Integers
from compression.quality.ranking import Labels, Scores, Weights


@dataclass(frozen=True, eq=False)
class Answers:
    """Scores of all models on n rows. `reference` is the original, one of the models."""

    labels: Labels
    """bool[n]"""
    scores: Mapping[str, Scores]
    """float[n] by model."""
    thresholds: Mapping[str, float]
    """By model, the reference's included."""
    reference: str
    customer: Integers
    """int[n]: the unit of the bootstrap."""
    weights: Weights | None = None
    """float64[n], or None where each row stands for itself."""

    def among(self, chosen: npt.NDArray[np.bool_]) -> Answers:
        """The same models on the rows chosen, bool[n]."""
        return Answers(
            self.labels[chosen],
            {model: scores[chosen] for model, scores in self.scores.items()},
            self.thresholds,
            self.reference,
            self.customer[chosen],
            None if self.weights is None else self.weights[chosen],
        )

    def alerts(self, model: str) -> Labels:
        """bool[n]: what the model decides at its own threshold."""
        return decisions(self.scores[model], self.thresholds[model])

    @property
    def mass(self) -> Weights:
        """float64[n]: weights, 1 where there are none."""
        return np.ones(len(self.labels)) if self.weights is None else self.weights
