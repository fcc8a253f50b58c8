"""What training minimises: hard labels alone, or a teacher's soft targets beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from compression.errors import TrainingError
from compression.training.rows import Batch


class Objective(Protocol):
    """Loss of a batch, given the model's logits float32[n]."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar loss."""
        ...


@dataclass(frozen=True)
class HardLabels:
    """Binary cross-entropy against the labels."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar loss."""
        return functional.binary_cross_entropy_with_logits(logits, batch.targets)


@dataclass(frozen=True)
class SoftAndHardLabels:
    """Distillation (Hinton et al. 2015) for a binary head.

    `soft_weight`·T²·BCE(student/T, sigmoid(teacher/T)) + (1 - soft_weight)·BCE(student, label);
    T² keeps the soft gradient's size independent of the temperature T.
    """

    temperature: float = 2.0
    soft_weight: float = 0.7

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Scalar loss; the batch must carry the teacher's logits."""
        if batch.teacher is None:
            raise TrainingError("distillation needs the teacher's logits on every training row")
        soft = functional.binary_cross_entropy_with_logits(
            logits / self.temperature, (batch.teacher / self.temperature).sigmoid()
        )
        hard = functional.binary_cross_entropy_with_logits(logits, batch.targets)
        return self.soft_weight * self.temperature**2 * soft + (1 - self.soft_weight) * hard
