"""Rows to train on: gathered once, re-drawn every epoch.

Fraud is rare. Each epoch takes every positive and a fresh draw of negatives (`per positive`), as
teams do; recalibration undoes the down-sampling afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Inputs = Mapping[str, npt.NDArray[np.float32]]
"""Model inputs by name, batch first."""


@dataclass(frozen=True)
class Batch:
    """What one optimiser step sees. `targets` are float32[n] labels, `teacher` logits or None."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    teacher: Tensor | None


@dataclass(frozen=True)
class TrainingRows:
    """A pool of rows. `gather` turns positions in the pool into inputs in the model's order."""

    gather: Callable[[npt.NDArray[np.int64]], Inputs]
    labels: npt.NDArray[np.bool_]
    teacher_logits: npt.NDArray[np.float32] | None = None
    max_positives: int | None = None
    """Bound on the positives of one epoch, for quick runs; None takes all."""

    def __len__(self) -> int:
        return len(self.labels)

    def epoch(
        self, generator: np.random.Generator, negatives_per_positive: float
    ) -> npt.NDArray[np.int64]:
        """Positions of one epoch in random order: all positives and a draw of negatives."""
        positives = np.flatnonzero(self.labels)
        if self.max_positives is not None and self.max_positives < len(positives):
            positives = generator.choice(positives, self.max_positives, replace=False)
        negatives = np.flatnonzero(~self.labels)
        wanted = min(len(negatives), int(len(positives) * negatives_per_positive))
        drawn = generator.choice(negatives, wanted, replace=False)
        return generator.permutation(np.concatenate((positives, drawn)))

    def batches(self, positions: npt.NDArray[np.int64], rows: int) -> Iterator[Batch]:
        """Batches of `rows` rows; a last, smaller one is left out."""
        for start in range(0, len(positions) - rows + 1, rows):
            chosen = positions[start : start + rows]
            inputs = tuple(torch.from_numpy(array) for array in self.gather(chosen).values())
            targets = torch.from_numpy(self.labels[chosen].astype(np.float32))
            teacher = self.teacher_logits
            soft = None if teacher is None else torch.from_numpy(teacher[chosen])
            yield Batch(inputs, targets, soft)


def pooled(inputs: Inputs) -> Callable[[npt.NDArray[np.int64]], Inputs]:
    """A `gather` over inputs that are in memory already."""
    return lambda positions: {name: array[positions] for name, array in inputs.items()}
