"""`train`: the student's architecture trained on hard labels alone.

Not a compression of anything: the honest baseline for `distill`, same rows, same epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import nn

from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, Template
from compression.techniques.context import Context
from compression.training.loop import TrainConfig, Trainer, TrainingLog
from compression.training.objectives import HardLabels, Objective
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows, pooled
from compression.training.scoring import Report
from compression.workloads.base import Rows, Workload


class TrainOptions(Options):
    """A student and its training."""

    student: dict[str, Any] = Field(default_factory=dict)
    """Options of the workload's student, e.g. {width: 64}."""
    epochs: int = Field(default=12, ge=1)
    batch_rows: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    negatives_per_positive: float = Field(default=10, gt=0)
    pool_negatives: int = Field(default=300_000, ge=1)
    """Negatives of the training window that the epochs draw from. More is better: twelve epochs
    on 80,000 ended two points of average precision below twelve on all of them."""
    labelled_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training window, from its start, whose labels are known: labels come late."""
    seed: int = Field(default=0, ge=0)
    """Added to the run's, for training the same again by other random numbers."""


def labelled(options: TrainOptions, workload: Workload, rows: Rows) -> npt.NDArray[np.bool_]:
    """bool[len(rows)]: which rows of the pool have a label that is known."""
    last = workload.train[math.ceil(options.labelled_share * len(workload.train)) - 1]
    trained = workload.days[rows] <= workload.days[workload.train].max()
    known: npt.NDArray[np.bool_] = trained & (rows <= last)
    return known


def train_student(
    options: TrainOptions,
    context: Context,
    rows: TrainingRows,
    objective: Callable[[nn.Module], Objective],
    report: Report,
) -> tuple[Candidate, TrainingLog]:
    """An untrained student, trained and recalibrated; the training's log beside it.

    `objective` is asked for the loss once, with the student's body.
    """
    workload, seed = context.workload, context.seed + options.seed
    template = Template("student", {**options.student, "seed": seed})
    module = template.build(workload)
    scratch = context.scratch
    log = Trainer(
        module.body,
        rows,
        objective(module.body),
        TrainConfig(
            epochs=options.epochs,
            batch_rows=options.batch_rows,
            learning_rate=options.learning_rate,
            negatives_per_positive=options.negatives_per_positive,
            seed=seed,
        ),
        report=lambda done, steps, loss: report(done, steps),
        checkpoint_path=None if scratch is None else scratch / "student.checkpoint.safetensors",
        run={"student": template.options},
    ).fit()
    context.recalibrate(module, lambda done, rows: None)
    return Candidate(template, module), log


class Train:
    """The student alone."""

    name: ClassVar[str] = "train"
    family: ClassVar[Family | None] = "baseline"
    options: ClassVar[type[Options]] = TrainOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: TrainOptions, context: Context, report: Report
    ) -> Candidate:
        """A student of the workload; the candidate given is not used."""
        started = time.perf_counter()
        workload, head = context.workload, context.workload.head
        pool = training_pool(workload, options.pool_negatives, context.seed)
        pool = pool[labelled(options, workload, pool)]
        labels = workload.labels[pool]
        head.check(labels, f"train (its first {options.labelled_share:.0%})")
        rows = TrainingRows(pooled(workload.gather(pool)), head.targets(labels), head.rare(labels))
        student, log = train_student(options, context, rows, lambda _: HardLabels(head), report)
        notes = {"training_seconds": log.seconds, "rows_seen": log.rows_seen}
        return student.noted(notes, time.perf_counter() - started)
