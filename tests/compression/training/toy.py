"""A toy problem: which side of a line a point lies on, one in five is positive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compression.heads import Binary
from compression.training.loop import Evaluate, TrainConfig, Trainer
from compression.training.objectives import HardLabels
from compression.training.rows import TrainingRows, pooled

CONFIG = TrainConfig(
    epochs=4, batch_rows=32, learning_rate=0.05, negatives_per_positive=3, average_decay=0.9, seed=5
)


class Toy(nn.Module):
    """Two layers with dropout, so that training draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(8, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, 4] → logit float32[n]."""
        logit: Tensor = self.last(self.dropout(torch.tanh(self.first(x)))).flatten()
        return logit


def toy_rows(rows: int = 400, *, bad: bool = False) -> TrainingRows:
    """Points in four dimensions; `bad` ones hold a NaN."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 4)).astype(np.float32)
    labels = x[:, 0] + 0.3 * x[:, 1] > 0.9
    if bad:
        x[::7, 2] = np.nan
    return TrainingRows(pooled({"x": x}), labels.astype(np.float32), labels)


def toy_trainer(
    config: TrainConfig = CONFIG,
    *,
    rows: TrainingRows | None = None,
    evaluate: Evaluate | None = None,
    path: Path | None = None,
    run: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Trainer:
    """A trainer of a fresh toy, always the same one."""
    torch.manual_seed(1)
    return Trainer(
        Toy(),
        rows or toy_rows(),
        HardLabels(Binary()),
        config,
        evaluate=evaluate,
        checkpoint_path=path,
        run=run,
        **kwargs,
    )
