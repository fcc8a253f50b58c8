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
    features: Tensor | None = None
    """The teacher's features [n, width], where they are matched."""
    known: Tensor | None = None
    """bool[n]: rows whose targets are labels; the others have the teacher alone. None: all."""


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
    features: npt.NDArray[Any] | None = None
    """The teacher's features [n, width], see `compression.training.features`."""
    known: npt.NDArray[np.bool_] | None = None
    """bool[n]: rows whose label is known; None: all."""
    near: npt.NDArray[np.bool_] | None = None
    """bool[n]: rows that are not rare but hard to tell from those that are."""
    near_share: float = 0.0
    """Share of an epoch's other rows that are drawn from `near`."""
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
        others = self._others(generator, int(len(positives) * negatives_per_positive))
        return generator.permutation(np.concatenate((positives, *others)))

    def _others(self, generator: np.random.Generator, wanted: int) -> list[npt.NDArray[np.int64]]:
        """A draw of the rows that are not rare, those near to them apart."""
        pools, counts = [np.flatnonzero(~self.rare)], [wanted]
        if self.near is not None:
            near_rows, far_rows = ~self.rare & self.near, ~self.rare & ~self.near
            pools = [np.flatnonzero(near_rows), np.flatnonzero(far_rows)]
            # Where there are not enough near rows, others make up for them: epochs stay as long.
            counts = [min(len(pools[0]), round(self.near_share * wanted))]
            counts.append(wanted - counts[0])
        return [
            generator.choice(pool, min(len(pool), count), replace=False)
            for pool, count in zip(pools, counts, strict=True)
        ]

    def batches(self, positions: npt.NDArray[np.int64], rows: int) -> Iterator[Batch]:
        """Batches of `rows` rows; a last, smaller one is left out."""
        for start in range(0, len(positions) - rows + 1, rows):
            chosen = positions[start : start + rows]
            inputs = tuple(torch.from_numpy(array) for array in self.gather(chosen).values())
            targets = torch.from_numpy(self.targets[chosen])
            beside = (_taken(array, chosen) for array in (self.teacher, self.features, self.known))
            yield Batch(inputs, targets, *beside)


def _taken(array: npt.NDArray[Any] | None, chosen: npt.NDArray[np.int64]) -> Tensor | None:
    return None if array is None else torch.from_numpy(array[chosen])


def pooled(inputs: Inputs) -> Callable[[npt.NDArray[np.int64]], Inputs]:
    """A `gather` over inputs that are in memory already."""
    return lambda positions: {name: array[positions] for name, array in inputs.items()}
