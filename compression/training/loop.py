"""The training loop: AdamW, one cosine cycle, averaged weights, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compression.errors import TrainingError
from compression.tracing import TRACING
from compression.training import checkpoint
from compression.training.objectives import Objective
from compression.training.rows import TrainingRows

Report = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss)."""

Evaluate = Callable[[nn.Module], float]
"""Quality on validation rows; higher is better."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training. `average_decay` 0 turns weight averaging off."""

    epochs: int
    batch_rows: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.05
    negatives_per_positive: float = 10.0
    average_decay: float = 0.995
    bfloat16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TrainingLog:
    """What happened: one entry an epoch (epoch, loss, validation, seconds), and the choice."""

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    seconds: float
    rows_seen: int


def learning_rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Share of the peak rate at a step: linear warm-up, then a cosine down to zero."""
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@contextmanager
def weights(model: nn.Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """Run the model with other weights for a while."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(tensors)
    try:
        yield
    finally:
        model.load_state_dict(own)


class Trainer:
    """Trains `model` in place. With a `checkpoint_path` it can be interrupted and run again.

    `after_step` sees the model after each step of the optimiser, e.g. to put masks back.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: TrainingRows,
        objective: Objective,
        config: TrainConfig,
        *,
        evaluate: Evaluate | None = None,
        report: Report = lambda done, steps, loss: None,
        checkpoint_path: Path | None = None,
        run: dict[str, Any] | None = None,
        after_step: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self.model, self.rows, self.objective, self.config = model, rows, objective, config
        self._evaluate, self._report = evaluate, report
        self._path = checkpoint_path
        self._after_step = after_step
        self._run = {**(run or {}), "config": asdict(config)}
        with TRACING.step():
            self._optimiser = torch.optim.AdamW(
                model.parameters(),
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                fused=True,  # one pass over all tensors: a small model is all Python loop
            )
        self._average = {name: value.clone() for name, value in model.state_dict().items()}
        self._updates = 0
        epoch_rows = len(rows.epoch(np.random.default_rng(0), config.negatives_per_positive))
        self._steps_per_epoch = epoch_rows // config.batch_rows
        if self._steps_per_epoch == 0:
            raise TrainingError(
                f"an epoch has {epoch_rows} rows, fewer than one batch of {config.batch_rows}: "
                "give more rows or a smaller batch_rows"
            )

    def fit(self) -> TrainingLog:
        """Train to the end; leaves the best epoch's averaged weights in the model."""
        progress = checkpoint.Progress()
        if self._path is not None and self._path.exists():
            progress = checkpoint.restore(
                self._path, self._run, self.model, self._average, self._optimiser
            )
            self._updates = progress.epochs_done * self._steps_per_epoch
        for epoch in range(progress.epochs_done, self.config.epochs):
            self._one_epoch(epoch, progress)
            if self._path is not None:
                checkpoint.save(
                    self._path, self._run, self.model, self._average, self._optimiser, progress
                )
        self.model.load_state_dict(progress.best)
        self.model.eval()
        best = max(progress.history, key=lambda entry: entry["validation"])
        return TrainingLog(
            epochs=tuple(progress.history),
            best_epoch=int(best["epoch"]),
            seconds=sum(entry["seconds"] for entry in progress.history),
            rows_seen=self._updates * self.config.batch_rows,
        )

    def _one_epoch(self, epoch: int, progress: checkpoint.Progress) -> None:
        started = time.perf_counter()
        # Each epoch has its own stream, so that a resumed run draws what an unbroken one would.
        with TRACING.step():
            torch.manual_seed(self.config.seed * 1000 + epoch)
        generator = np.random.default_rng([self.config.seed, epoch])
        positions = self.rows.epoch(generator, self.config.negatives_per_positive)
        total = 0.0
        self.model.train()
        for batch in self.rows.batches(positions, self.config.batch_rows):
            with TRACING.step():
                total += self._step(batch)
        trained_seconds = time.perf_counter() - started
        validation = float(epoch)
        if self._evaluate is not None:
            self.model.eval()
            with weights(self.model, self._average):
                validation = self._evaluate(self.model)
        entry = {
            "epoch": epoch,
            "loss": total / self._steps_per_epoch,
            "validation": validation,
            "seconds": trained_seconds,
        }
        if not progress.history or validation >= max(e["validation"] for e in progress.history):
            progress.best = {name: value.clone() for name, value in self._average.items()}
        progress.history.append(entry)
        progress.epochs_done = epoch + 1

    def _step(self, batch: Any) -> float:
        steps = self._steps_per_epoch * self.config.epochs
        share = learning_rate_share(self._updates, steps, self.config.warmup_share)
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.learning_rate * share
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            raw = self.model(*batch.inputs)
        loss = self.objective(raw.float(), batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        if self._after_step is not None:
            self._after_step(self.model)
        self._updates += 1
        self._update_average()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self._updates}: lower learning_rate "
                f"({self.config.learning_rate}) or look for bad values in the data"
            )
        self._report(self._updates, steps, value)
        return value

    def _update_average(self) -> None:
        # Early on a long average would remember the random start.
        decay = min(self.config.average_decay, self._updates / (self._updates + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.dtype.is_floating_point:
                    self._average[name].lerp_(value, 1 - decay)
                else:
                    self._average[name].copy_(value)
