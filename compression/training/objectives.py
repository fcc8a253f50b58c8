"""What training minimises: hard labels alone, or a teacher's soft targets beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from compression.errors import TrainingError
from compression.heads import Head
from compression.training.rows import Batch


class Objective(Protocol):
    """Loss of a batch, given the model's raw outputs float32[n, …]."""

    def __call__(self, raw: Tensor, batch: Batch) -> Tensor:
        """Scalar loss."""
        ...


@dataclass(frozen=True)
class HardLabels:
    """The head's loss against the labels."""

    head: Head

    def __call__(self, raw: Tensor, batch: Batch) -> Tensor:
        """Scalar loss."""
        return self.head.hard_loss(raw, batch.targets)


@dataclass(frozen=True)
class SoftAndHardLabels:
    """Distillation (Hinton et al. 2015).

    `soft_weight` · (loss against the teacher at `temperature`) + (1 - `soft_weight`) · (loss
    against the labels), both as the head defines them. Rows without a label have the first part
    alone.
    """

    head: Head
    temperature: float = 2.0
    soft_weight: float = 0.7

    def __call__(self, raw: Tensor, batch: Batch) -> Tensor:
        """Scalar loss; the batch must carry the teacher's outputs."""
        if batch.teacher is None:
            raise TrainingError("distillation needs the teacher's outputs on every training row")
        soft = self.soft_weight * self.head.soft_loss(raw, batch.teacher, self.temperature)
        known, share = batch.known, 1.0
        if known is not None:
            share = float(known.float().mean())
            if share == 0:
                return soft
            raw, batch = raw[known], replace(batch, targets=batch.targets[known])
        # Of a batch that is half known, the labels have half a say.
        return soft + (1 - self.soft_weight) * share * self.head.hard_loss(raw, batch.targets)
