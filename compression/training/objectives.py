"""What training minimises: hard labels alone, or a teacher's soft targets beside them."""

from __future__ import annotations

from dataclasses import dataclass
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
    against the labels), both as the head defines them.
    """

    head: Head
    temperature: float = 2.0
    soft_weight: float = 0.7

    def __call__(self, raw: Tensor, batch: Batch) -> Tensor:
        """Scalar loss; the batch must carry the teacher's outputs."""
        if batch.teacher is None:
            raise TrainingError("distillation needs the teacher's outputs on every training row")
        soft = self.head.soft_loss(raw, batch.teacher, self.temperature)
        hard = self.head.hard_loss(raw, batch.targets)
        return self.soft_weight * soft + (1 - self.soft_weight) * hard
