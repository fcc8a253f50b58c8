"""Defaults on loans, from a table: a workload to copy, with its recipe `credit.yaml`."""

from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import nn

from compression.training.loop import TrainConfig
from compression.workloads.table import TableWorkload


class StudentOptions(BaseModel):
    """What the recipe may say under `student`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: PositiveInt = 16


class CreditWorkload(TableWorkload):
    """A perceptron of three layers; its student has one hidden layer."""

    name = "credit"
    student_type = StudentOptions
    original_training = TrainConfig(epochs=30, batch_rows=128, learning_rate=2e-3)

    def build_original(self) -> nn.Module:
        """Features float32[n, f] → logits float32[n]."""
        return _perceptron(len(self.features), 256, 256, 128)

    def build_student(self, options: dict[str, Any]) -> nn.Module:
        """The same, smaller."""
        return _perceptron(len(self.features), options["hidden"])


def _perceptron(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))
