"""`distill`: a student learns from the original's soft scores beside the hard labels.

The teacher helps twice more than by its scores: it knows which of the many negatives are hard to
tell from a positive (`near_share`), and what to think of rows whose labels have not come yet
(`labelled_share`). `python -m compression study` measures each against the student alone.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import nn

from compression.errors import TechniqueError
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions, labelled, train_student
from compression.training.features import FeatureTap, SimilarFeatures
from compression.training.objectives import Objective, SoftAndHardLabels
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows, pooled
from compression.training.scoring import Floats, Report
from compression.training.second_teacher import boosting_logits
from compression.workloads.base import Rows, Workload

NEAR_SHARE = 1 / 3
"""The best that `compression/study/fraud-distillation.yaml` found, over three seeds."""


class DistillOptions(TrainOptions):
    """The student's training, and how much it listens to the teacher."""

    temperature: float = Field(default=2.0, gt=0)
    soft_weight: float = Field(default=0.9, ge=0, le=1)
    near_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of an epoch's negatives drawn from those that the teacher scores highest; None: a
    third where negatives are drawn anew each epoch and have one score a row, elsewhere none."""
    near_quantile: float = Field(default=0.95, gt=0, lt=1)
    """Negatives above this quantile of the teacher's scores count as near."""
    recent_rows: int = Field(default=0, ge=0)
    """Of the rows that are newer than all labels, how many to train on; the newest ones."""
    second_teacher: Literal["boosting"] | None = None
    """Its logits and the original's are averaged; binary heads alone."""
    similarity_weight: float = Field(default=0.0, ge=0)
    """Weight of the match of intermediate features, see `compression.training.features`."""


class Distill:
    """Soft targets on the teacher's logits at a temperature, plus hard labels."""

    name: ClassVar[str] = "distill"
    family: ClassVar[Family | None] = "distilled"
    options: ClassVar[type[Options]] = DistillOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: DistillOptions, context: Context, report: Report
    ) -> Candidate:
        """A student taught by the workload's original."""
        started = time.perf_counter()
        pool = training_pool(context.workload, options.pool_negatives, context.seed)
        teacher, teacher_seconds = context.teacher_outputs(pool, report)
        if options.recent_rows:
            recent = _recent(options, context.workload)
            outputs, seconds = context.teacher_outputs(recent, report)
            pool, teacher = np.concatenate((pool, recent)), np.concatenate((teacher, outputs))
            teacher_seconds += seconds
        if options.second_teacher is not None:
            second = boosting_logits(
                context.workload,
                pool,
                labelled(options, context.workload, pool),
                options.negatives_per_positive,
                context.seed,
            )
            teacher = (teacher + second) / np.float32(2)
        rows = self.rows(options, context.workload, pool, teacher)
        if options.similarity_weight:
            rows = replace(rows, features=context.teacher_features(pool, report))
        with ExitStack() as taps:
            objective = _objective(options, context, taps)
            student, log = train_student(options, context, rows, objective, report)
        notes = {
            "training_seconds": log.seconds,
            "teacher_scoring_seconds": teacher_seconds,
            "rows_seen": log.rows_seen,
        }
        return student.noted(notes, time.perf_counter() - started)

    def rows(
        self, options: DistillOptions, workload: Workload, pool: Rows, teacher: Floats
    ) -> TrainingRows:
        """The pool with labels where they are known, and the teacher's word everywhere."""
        head, labels = workload.head, workload.labels[pool]
        known = labelled(options, workload, pool)
        rare = np.where(known, head.rare(labels), head.seems_rare(teacher))
        share = options.near_share
        if share is None:
            share = NEAR_SHARE if _can_be_near(teacher, rare) else 0.0
        return TrainingRows(
            pooled(workload.gather(pool)),
            head.targets(labels),
            rare,
            teacher,
            known=None if known.all() else known,
            near=_near(teacher, rare, options) if share else None,
            near_share=share,
        )


def _objective(
    options: DistillOptions, context: Context, taps: ExitStack
) -> Callable[[nn.Module], Objective]:
    taught = SoftAndHardLabels(context.workload.head, options.temperature, options.soft_weight)
    if not options.similarity_weight:
        return lambda _: taught
    return lambda body: SimilarFeatures(
        taught, taps.enter_context(FeatureTap(body)), options.similarity_weight
    )


def _recent(options: DistillOptions, workload: Workload) -> Rows:
    """int64[recent_rows]: the newest rows whose labels have not come."""
    there = workload.unlabelled
    if len(there) < options.recent_rows:
        raise TechniqueError(
            f"recent_rows: expected at most {len(there)}, the rows between the windows to train "
            f"on and to choose on, given {options.recent_rows}"
        )
    return there[len(there) - options.recent_rows :]


def _can_be_near(teacher: Floats, rare: npt.NDArray[np.bool_]) -> bool:
    return teacher.ndim == 1 and not rare.all()


def _near(
    teacher: Floats, rare: npt.NDArray[np.bool_], options: DistillOptions
) -> npt.NDArray[np.bool_]:
    """bool[n]: the rows that are not rare and that the teacher scores highest."""
    if not _can_be_near(teacher, rare):
        raise TechniqueError(
            "near_share needs rows that are drawn anew each epoch, as negatives are, and one "
            "score a row to rank them by: leave it out for this workload's head"
        )
    bound = np.quantile(teacher[~rare], options.near_quantile)
    near: npt.NDArray[np.bool_] = ~rare & (teacher >= bound)
    return near
