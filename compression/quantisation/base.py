"""What a quantisation method is: a finished module in, a checked graph out.

The package knows nothing of techniques and recipes; whoever calls it says in a `Job` what a method
may use. Siblings of `Method` are registered by name in `compression.quantisation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from compression.models.scorer import Scorer
from compression.quantisation.options import QuantisationOptions
from compression.store.manifest import Gate
from compression.training.scoring import Report
from compression.workloads.base import Workload

Precision = Literal["fp32", "fp16", "int8", "int4"]


@dataclass(frozen=True)
class Job:
    """What to quantise, and what a method may use for it."""

    module: Scorer
    """The finished float model, in eval mode. Methods leave it as it is."""
    graph: bytes
    """The same as fp32 ONNX."""
    workload: Workload
    seed: int
    train: Callable[[Scorer, Report], float]
    """Trains a module's body in place on labels and the original's outputs; seconds it took."""
    recalibrate: Callable[[Scorer, Report], None]
    """Fits a module's finishing layer on validation rows, in place."""
    judge: Callable[[bytes], Gate]
    """The recipe's quality gate for a graph, on validation rows."""


@dataclass(frozen=True)
class Quantised:
    """A graph that was checked to be what `precision` says."""

    graph: bytes
    precision: Precision
    module: Scorer
    """Whose weights the graph was made of: the job's module, or a trained copy."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values for the manifest."""


class Method(Protocol):
    """One way to quantise. Stateless."""

    name: ClassVar[str]
    options: ClassVar[frozenset[str]]
    """Fields of QuantisationOptions that count for it, beside `method`."""
    trains: ClassVar[bool]
    """Whether it calls `Job.train`."""

    def __call__(self, job: Job, options: QuantisationOptions, report: Report) -> Quantised:
        """The quantised graph; `report(done, all)` moves the bar.

        Raises:
            TechniqueError: what came out is not what the method's name says.
            DataError: the calibration set cannot be used.
        """
        ...
