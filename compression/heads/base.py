"""What a head is: everything that depends on what a model's output means.

A workload has one head. Training takes its losses from there, publishing its last layer and its
calibration, and judging its *trials*: whatever the output is, quality is the quality of a series
of yes-or-no questions with a score each, so that ranking metrics, thresholds, decisions and the
gate are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from compression.models.scorer import Scorer

Array = npt.NDArray[Any]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Yes-or-no questions put to a model."""

    labels: npt.NDArray[np.bool_]
    """bool[u]: the right answers."""
    scores: npt.NDArray[np.float32]
    """float32[u]: the higher, the more it says yes."""
    rows: npt.NDArray[np.int64]
    """int64[u]: which of the rows each question belongs to, for weights and groups."""


class NothingRare:
    """Sampling of heads whose rows are all alike: every epoch takes them all."""

    def rare(self, labels: Array) -> npt.NDArray[np.bool_]:
        """All rows: nothing is down-sampled."""
        return np.ones(len(labels), np.bool_)

    def seems_rare(self, raw: Array) -> npt.NDArray[np.bool_]:
        """All rows."""
        return np.ones(len(raw), np.bool_)


class Head(Protocol):
    """One meaning of outputs; siblings are binary, multi-class, regression, embedding."""

    name: ClassVar[str]

    def check(self, labels: Array, window: str) -> None:
        """Refuse labels that can neither train nor judge.

        Raises:
            DataError: names the window and what is missing.
        """
        ...

    def rare(self, labels: Array) -> npt.NDArray[np.bool_]:
        """bool[n]: rows that every epoch takes; the others are drawn anew, a few for each."""
        ...

    def seems_rare(self, raw: Array) -> npt.NDArray[np.bool_]:
        """bool[n]: `rare`, guessed from a teacher's raw outputs where labels are not known."""
        ...

    def targets(self, labels: Array) -> Array:
        """Labels as the losses want them, batch first."""
        ...

    def scorer(self, body: Any) -> Scorer:
        """The body with its finishing layer, not yet calibrated."""
        ...

    def calibrate(self, scorer: Scorer, raw: Array, labels: Array, weights: Weights) -> None:
        """Fit the finishing layer on raw outputs of validation rows, in place."""
        ...

    def hard_loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss against labels."""
        ...

    def soft_loss(self, raw: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Scalar loss against a teacher's raw outputs; its size does not fall with T."""
        ...

    def trials(self, outputs: Array, labels: Array) -> Trials:
        """The questions that published outputs [n, …] of rows with labels [n] answer.

        The questions depend on the labels alone: all models answer the same ones.
        """
        ...
