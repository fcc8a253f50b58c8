"""Rows to train on: gathered once, re-drawn every epoch.

Where positives are rare, each epoch takes all of them and a fresh draw of negatives (`per
positive`), as teams do; recalibration undoes the down-sampling afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Inputs = Mapping[str, npt.NDArray[np.float32]]
"""Model inputs by name, batch first."""


@dataclass(frozen=True)
class Batch:
    """What one optimiser step sees: targets as the head wants them, the teacher's raw outputs."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    teacher: Tensor | None


@dataclass(frozen=True)
class TrainingRows:
    """A pool of rows. `gather` turns positions in the pool into inputs in the model's order."""

    gather: Callable[[npt.NDArray[np.int64]], Inputs]
    targets: npt.NDArray[Any]
    """As the head wants them, batch first."""
    rare: npt.NDArray[np.bool_]
    """bool[n]: rows that every epoch takes, e.g. positives; of the others it draws some."""
    teacher: npt.NDArray[np.float32] | None = None
    """The teacher's raw outputs, batch first."""
    max_positives: int | None = None
    """Bound on the rare rows of one epoch, for quick runs; None takes all."""

    def __len__(self) -> int:
        return len(self.rare)

    def epoch(
        self, generator: np.random.Generator, negatives_per_positive: float
    ) -> npt.NDArray[np.int64]:
        """Positions of one epoch in random order: all positives and a draw of negatives."""
        positives = np.flatnonzero(self.rare)
        if self.max_positives is not None and self.max_positives < len(positives):
            positives = generator.choice(positives, self.max_positives, replace=False)
        negatives = np.flatnonzero(~self.rare)
        wanted = min(len(negatives), int(len(positives) * negatives_per_positive))
        drawn = generator.choice(negatives, wanted, replace=False)
        return generator.permutation(np.concatenate((positives, drawn)))

    def batches(self, positions: npt.NDArray[np.int64], rows: int) -> Iterator[Batch]:
        """Batches of `rows` rows; a last, smaller one is left out."""
        for start in range(0, len(positions) - rows + 1, rows):
            chosen = positions[start : start + rows]
            inputs = tuple(torch.from_numpy(array) for array in self.gather(chosen).values())
            targets = torch.from_numpy(self.targets[chosen])
            soft = None if self.teacher is None else torch.from_numpy(self.teacher[chosen])
            yield Batch(inputs, targets, soft)


def pooled(inputs: Inputs) -> Callable[[npt.NDArray[np.int64]], Inputs]:
    """A `gather` over inputs that are in memory already."""
    return lambda positions: {name: array[positions] for name, array in inputs.items()}
