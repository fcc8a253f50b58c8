"""`binary`: one logit a row, published as a calibrated probability."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import DataError
from compression.heads.base import Array, Trials, Weights
from compression.models.scorer import CalibratedScorer, Scorer
from compression.quality.calibration import fit_platt


class Binary:
    """Labels bool[n]; raw outputs are logits float32[n]. A row is its own trial."""

    name: ClassVar[str] = "binary"

    def check(self, labels: Array, window: str) -> None:
        """Both kinds of rows are needed."""
        if labels.all() or not labels.any():
            raise DataError(
                f"the {window} window has {labels.sum():,} positives among {len(labels):,} rows, "
                "both kinds are needed: give more data, or other windows under workload.split"
            )

    def rare(self, labels: Array) -> npt.NDArray[np.bool_]:
        """The positives."""
        return labels.astype(np.bool_)

    def seems_rare(self, raw: Array) -> npt.NDArray[np.bool_]:
        """What the teacher takes for positive, given how positives were sampled for it."""
        return raw > 0

    def targets(self, labels: Array) -> Array:
        """float32[n], 0 or 1."""
        return labels.astype(np.float32)

    def scorer(self, body: nn.Module) -> Scorer:
        """A Platt scaling, to be fitted."""
        return CalibratedScorer(body)

    def calibrate(self, scorer: Scorer, raw: Array, labels: Array, weights: Weights) -> None:
        """Platt scaling by weighted maximum likelihood."""
        slope, intercept = fit_platt(labels, raw, weights)
        scorer.get_buffer("slope").fill_(slope)
        scorer.get_buffer("intercept").fill_(intercept)

    def hard_loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(raw, targets)

    def soft_loss(self, raw: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T² · BCE of both logits at the temperature T (Hinton et al. 2015)."""
        soft = functional.binary_cross_entropy_with_logits(
            raw / temperature, (teacher / temperature).sigmoid()
        )
        return temperature**2 * soft

    def trials(self, outputs: Array, labels: Array) -> Trials:
        """The rows themselves."""
        scores = outputs.astype(np.float32, copy=False)
        return Trials(labels.astype(np.bool_), scores, np.arange(len(labels)))
