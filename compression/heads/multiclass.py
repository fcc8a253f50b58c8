"""`multiclass`: a logit for each class, published as probabilities."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import DataError
from compression.heads.base import Array, NothingRare, Trials, Weights
from compression.models.scorer import ClassScorer, Scorer

TEMPERATURES = np.geomspace(0.05, 20.0, 241)


class MultiClass(NothingRare):
    """Labels int[n] from 0; raw outputs are logits float32[n, classes]."""

    name: ClassVar[str] = "multiclass"

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise DataError(f"a multi-class head needs at least 2 classes, given: {classes}")
        self.classes = classes

    def check(self, labels: Array, window: str) -> None:
        """At least two classes, and none that the model has no output for."""
        present = np.unique(labels)
        if len(present) < 2 or present[0] < 0 or present[-1] >= self.classes:
            raise DataError(
                f"the {window} window has the classes {present.tolist()[:10]} of 0 to "
                f"{self.classes - 1}: at least two of these are needed, and no others"
            )

    def targets(self, labels: Array) -> Array:
        """int64[n]."""
        return labels.astype(np.int64)

    def scorer(self, body: nn.Module) -> Scorer:
        """A softmax at a temperature, to be fitted."""
        return ClassScorer(body)

    def calibrate(self, scorer: Scorer, raw: Array, labels: Array, weights: Weights) -> None:
        """Temperature scaling (Guo et al. 2017): the log loss over a fixed grid."""
        losses = [_log_loss(raw / t, labels, weights) for t in TEMPERATURES]
        scorer.get_buffer("temperature").fill_(float(TEMPERATURES[int(np.argmin(losses))]))

    def hard_loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(raw, targets)

    def soft_loss(self, raw: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T² · cross-entropy of both distributions at the temperature T (Hinton et al. 2015)."""
        expected = (teacher / temperature).softmax(dim=1)
        return temperature**2 * functional.cross_entropy(raw / temperature, expected)

    def trials(self, outputs: Array, labels: Array) -> Trials:
        """'Is it class c?' for each row and class: micro-averaged, one against the rest."""
        rows, classes = outputs.shape
        asked = np.arange(classes)
        right = labels[:, None] == asked[None]
        return Trials(
            right.ravel(),
            outputs.astype(np.float32, copy=False).ravel(),
            np.repeat(np.arange(rows), classes),
        )


def _log_loss(logits: Array, labels: Array, weights: Weights) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    return -float(np.average(log_likelihood, weights=weights))
