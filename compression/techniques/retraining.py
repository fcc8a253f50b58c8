"""Retrain a module that a technique has changed, so that it finds back what it lost.

It listens to the labels and to the unchanged original. What the technique did to it must hold by
itself: shapes do, masks are put back by `after_step`.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from torch import nn

from compression.models.scorer import Scorer
from compression.techniques.base import Options
from compression.techniques.context import Context
from compression.training.loop import TrainConfig, Trainer
from compression.training.objectives import SoftAndHardLabels
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows
from compression.training.scoring import Report

AfterStep = Callable[[nn.Module], None]


class RetrainOptions(Options):
    """How to heal. Epochs are counted by the technique."""

    batch_rows: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    negatives_per_positive: float = Field(default=3, gt=0)
    pool_negatives: int = Field(default=300_000, ge=1)
    """Negatives of the training window that the epochs draw from."""
    max_positives: int | None = Field(default=None, ge=1)
    """Bound on positives per epoch, for quick runs; None takes all."""
    temperature: float = Field(default=2.0, gt=0)
    soft_weight: float = Field(default=0.9, ge=0, le=1)


def retraining_rows(options: RetrainOptions, context: Context, report: Report) -> TrainingRows:
    """Rows of the training window with labels and the original's outputs."""
    workload = context.workload
    rows = training_pool(workload, options.pool_negatives, context.seed)
    teacher, _ = context.teacher_outputs(rows, report)
    labels = workload.labels[rows]
    return TrainingRows(
        lambda positions: workload.gather(rows[positions]),
        workload.head.targets(labels),
        workload.head.rare(labels),
        teacher,
        max_positives=options.max_positives,
    )


def objective(options: RetrainOptions, context: Context) -> SoftAndHardLabels:
    """What retraining minimises."""
    return SoftAndHardLabels(context.workload.head, options.temperature, options.soft_weight)


def retrain(
    module: Scorer,
    rows: TrainingRows,
    options: RetrainOptions,
    context: Context,
    report: Report,
    *,
    epochs: int,
    seed: int,
    name: str = "retrain",
    after_step: AfterStep | None = None,
    bfloat16: bool = True,
) -> float:
    """Train `module.body` in place for `epochs`; gives the seconds spent training.

    `bfloat16` multiplies in that type, which is faster; not where a technique rounds by itself.
    Goes on where an interrupted run of the same `name` stopped, where the context has a scratch
    folder.
    """
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # a network that has lost a part needs no further handicap
    scratch = context.scratch
    log = Trainer(
        module.body,
        rows,
        objective(options, context),
        TrainConfig(
            epochs=epochs,
            batch_rows=options.batch_rows,
            learning_rate=options.learning_rate,
            negatives_per_positive=options.negatives_per_positive,
            average_decay=0.99,
            bfloat16=bfloat16,
            seed=seed,
        ),
        report=lambda done, steps, loss: report(done, steps),
        checkpoint_path=None if scratch is None else scratch / f"{name}.checkpoint.safetensors",
        run={"technique": name},
        after_step=after_step,
    ).fit()
    return log.seconds
