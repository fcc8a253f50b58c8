"""`distill`: a student learns from the original's soft scores beside the hard labels.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import time
from typing import ClassVar

from pydantic import Field

from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions, train_student
from compression.training.objectives import SoftAndHardLabels
from compression.training.pool import training_pool
from compression.training.scoring import Report


class DistillOptions(TrainOptions):
    """The student's training, and how much it listens to the teacher."""

    temperature: float = Field(default=2.0, gt=0)
    soft_weight: float = Field(default=0.9, ge=0, le=1)


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
        rows = training_pool(context.workload, options.pool_negatives, context.seed)
        teacher, teacher_seconds = context.teacher_outputs(rows, report)
        head = context.workload.head
        objective = SoftAndHardLabels(head, options.temperature, options.soft_weight)
        student, log = train_student(options, context, objective, teacher, report)
        notes = {
            "training_seconds": log.seconds,
            "teacher_scoring_seconds": teacher_seconds,
            "rows_seen": log.rows_seen,
        }
        return student.noted(notes, time.perf_counter() - started)
