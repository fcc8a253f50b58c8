"""`regression`: a number a row."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import DataError
from compression.heads.base import Array, NothingRare, Trials, Weights
from compression.models.scorer import Scorer


class Regression(NothingRare):
    """Labels float[n]; raw outputs float32[n] are published as they are.

    A regression that is served is acted upon: above `threshold` something is done. It is judged
    by how well it tells the rows whose true value is above the threshold from the others.
    """

    name: ClassVar[str] = "regression"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def check(self, labels: Array, window: str) -> None:
        """Finite values on both sides of the threshold."""
        above = labels >= self.threshold
        if not np.isfinite(labels).all() or above.all() or not above.any():
            raise DataError(
                f"the {window} window has values from {labels.min():.6g} to {labels.max():.6g}: "
                f"they must be finite and lie on both sides of the threshold {self.threshold:.6g}"
            )

    def targets(self, labels: Array) -> Array:
        """float32[n]."""
        return labels.astype(np.float32)

    def scorer(self, body: nn.Module) -> Scorer:
        """The body as it is."""
        return Scorer(body)

    def calibrate(self, scorer: Scorer, raw: Array, labels: Array, weights: Weights) -> None:
        """Nothing to fit."""

    def hard_loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Huber's loss: squared near the target, so that outliers do not rule."""
        return functional.smooth_l1_loss(raw, targets)

    def soft_loss(self, raw: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean squared distance to the teacher; a number has no temperature."""
        return functional.mse_loss(raw, teacher)

    def trials(self, outputs: Array, labels: Array) -> Trials:
        """'Is it above the threshold?' for each row."""
        scores = outputs.astype(np.float32, copy=False)
        return Trials(labels >= self.threshold, scores, np.arange(len(labels)))
