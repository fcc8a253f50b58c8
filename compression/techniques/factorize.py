"""`factorize`: large linear layers as products of two thin ones, then retrained.

By truncated singular value decomposition, only where the two multiply less than the one:
r < m·n / (m + n). Two small matrix products are not always faster than one: the notes say what
ONNX Runtime makes of it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from compression.errors import TechniqueError
from compression.models.low_rank import (
    energy_of_rank,
    factorised,
    largest_useful_rank,
    rank_for_energy,
    singular_values,
)
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.measuring import MeasuredOptions, measured_notes
from compression.techniques.retraining import retrain, retraining_rows
from compression.training.scoring import Report, nothing

ENERGY = 0.9
EXAMPLE_ROWS = 4


class FactorizeOptions(MeasuredOptions):
    """How low the ranks, of which layers, and how to heal."""

    energy: float | None = Field(default=None, gt=0, le=1)
    """Keep as many singular values as make up this share of their squares; 0.9 if not said."""
    rank_share: float | None = Field(default=None, gt=0, lt=1)
    """Or this share of each layer's full rank."""
    min_features: int = Field(default=32, ge=2)
    """Layers with fewer inputs or outputs stay whole."""
    keep: tuple[str, ...] = ()
    """Layers that stay whole, as patterns of their names."""
    epochs: int = Field(default=1, ge=0)
    """Of retraining; 0 leaves the decomposition as it is."""

    @model_validator(mode="after")
    def _one_way_to_a_rank(self) -> Self:
        if self.energy is not None and self.rank_share is not None:
            raise ValueError("energy and rank_share are two ways to a rank: give one of them")
        return self

    def rank(self, values: Tensor) -> int:
        """Rank for a layer with these singular values."""
        if self.rank_share is not None:
            return max(1, round(self.rank_share * len(values)))
        return rank_for_energy(values, self.energy or ENERGY)


@dataclass(frozen=True)
class Factorised:
    """What became of one layer."""

    name: str
    outputs: int
    inputs: int
    rank: int
    energy: float


class Factorize:
    """Low-rank linear layers."""

    name: ClassVar[str] = "factorize"
    family: ClassVar[Family | None] = "factorized"
    options: ClassVar[type[Options]] = FactorizeOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: FactorizeOptions, context: Context, report: Report
    ) -> Candidate:
        """A copy of the candidate with thin layers, retrained and recalibrated.

        Raises:
            TechniqueError: no layer would multiply less.
        """
        started = time.perf_counter()
        module = copy.deepcopy(candidate.module).eval()
        inputs = context.workload.gather(context.workload.train[:EXAMPLE_ROWS])
        example = tuple(torch.from_numpy(array) for array in inputs.values())
        done = tuple(factorise_layers(module.body, example, options))
        if not done:
            raise TechniqueError(
                f"factorize finds no Linear of {options.min_features} inputs and outputs or more "
                "whose rank would be low enough to multiply less: lower energy, rank_share or "
                "min_features, or leave it out"
            )
        seconds = 0.0
        if options.epochs:
            rows = retraining_rows(options, context, report)
            seconds = retrain(
                module, rows, options, context, report, epochs=options.epochs, seed=context.seed
            )
        context.recalibrate(module, nothing)
        notes: dict[str, Any] = {
            "layers": {f.name: {"rank": f.rank, "energy": f.energy} for f in done},
            "parameters_before": parameter_count(candidate.module),
            "parameters_after": parameter_count(module),
            "training_seconds": seconds,
            **measured_notes(module, candidate.module, options, context),
        }
        return replace(candidate, module=module).noted(notes, time.perf_counter() - started)


def factorise_layers(
    body: nn.Module, example: Sequence[Tensor], options: FactorizeOptions
) -> Iterator[Factorised]:
    """Replace the Linear layers that gain by it, in place; tells of each one replaced.

    A layer whose weight something else reads (PyTorch's fused attention does) stays whole.
    """
    for name, part in list(body.named_modules()):
        if not name or type(part) is not nn.Linear:
            continue
        if any(fnmatchcase(name, pattern) for pattern in options.keep):
            continue
        outputs, inputs = part.out_features, part.in_features
        if min(outputs, inputs) < options.min_features:
            continue
        values = singular_values(part)
        rank = options.rank(values)
        if rank > largest_useful_rank(part):
            continue
        body.set_submodule(name, factorised(part, rank))
        if _runs(body, example):
            yield Factorised(name, outputs, inputs, rank, energy_of_rank(values, rank))
        else:
            body.set_submodule(name, part)


def _runs(body: nn.Module, example: Sequence[Tensor]) -> bool:
    """Whether nobody asks the new layers for a weight, on PyTorch's fast paths or off them."""
    try:
        for gradients in (True, False):
            with torch.set_grad_enabled(gradients):
                body(*example)
    except AttributeError:
        return False
    return True
