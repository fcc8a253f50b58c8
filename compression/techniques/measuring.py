"""What a technique that trains says of its result: size and speed beside what it started from."""

from __future__ import annotations

from pydantic import Field

from compression.models.scorer import Scorer
from compression.pruning.comparison import against_dense
from compression.techniques.context import Context
from compression.techniques.retraining import RetrainOptions
from compression.training.rows import Inputs


class MeasuredOptions(RetrainOptions):
    """Retraining, and how long to compare speeds."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Low: what has lost a part is still near its place. With a fifth of the fraud original's
    units gone, a short epoch at 1e-4 kept 0.998 of average precision, at 3e-4 less than without.
    """
    measure_seconds: float = Field(default=2.0, gt=0)
    """Time spent calling the new graph and the old one in turn."""


def one_row(context: Context) -> Inputs:
    """Inputs of the first training row."""
    return context.workload.gather(context.workload.train[:1])


def measured_notes(
    module: Scorer, start: Scorer, options: MeasuredOptions, context: Context
) -> dict[str, float | int]:
    """See `compression.pruning.comparison.against_dense`; `start` is the dense one."""
    return against_dense(
        context.float_graph(module.eval()),
        context.float_graph(start),
        one_row(context),
        options.measure_seconds,
    )
