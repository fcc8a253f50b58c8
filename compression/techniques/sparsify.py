"""`sparsify`: zeros in the weights, unstructured or N:M, held through retraining.

The tensors keep their shapes. ONNX Runtime multiplies a zero as it does any number, so this makes
no model faster there, and its file is smaller only once it is packed. The notes say both, measured:
it is for archives, networks, and runtimes with sparse kernels.
"""

from __future__ import annotations

import copy
import re
import time
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from torch import nn

from compression.errors import TechniqueError
from compression.models.scorer import Scorer
from compression.pruning.masks import (
    Masks,
    Scope,
    magnitude_masks,
    n_m_masks,
    sparse_layers,
    sparsity,
)
from compression.pruning.rounds import rounds_in
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.measuring import MeasuredOptions, measured_notes
from compression.techniques.retraining import retrain, retraining_rows
from compression.training.scoring import Report, nothing, part_of

UNSTRUCTURED = "unstructured"
SHARE = 0.5
_N_OF_M = re.compile(r"([1-9]\d*):([1-9]\d*)")


class SparsifyOptions(MeasuredOptions):
    """Which weights become zero, and how to heal."""

    pattern: str = UNSTRUCTURED
    """`unstructured`, or N:M as `2:4`: of M weights on neighbouring inputs N stay."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the weights that become zero; 0.5 if not said. N:M has its own."""
    scope: Scope = "global"
    """Unstructured: rank the weights of all layers together, or of each layer on its own."""
    keep: tuple[str, ...] = ()
    """Layers that stay dense, as patterns of their names: `head`."""
    rounds: int = Field(default=1, ge=1)
    """Unstructured: the share grows over the rounds, fast at first (Zhu and Gupta, 2017)."""
    epochs_per_round: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _one_pattern(self) -> Self:
        if self.pattern == UNSTRUCTURED:
            return self
        found = _N_OF_M.fullmatch(self.pattern)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(
                f"pattern must be {UNSTRUCTURED} or N:M with N < M, e.g. 2:4, not {self.pattern!r}"
            )
        if self.share is not None or self.rounds > 1:
            raise ValueError(
                f"share and rounds go with pattern: {UNSTRUCTURED}; N:M has a share of its own"
            )
        return self

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(N, M); None for unstructured."""
        found = _N_OF_M.fullmatch(self.pattern)
        return None if found is None else (int(found[1]), int(found[2]))

    def share_after(self, round_: int) -> float:
        """Share of zeros after a round, of 1, 2, …."""
        return (self.share or SHARE) * (1 - (1 - round_ / self.rounds) ** 3)


class Sparsify:
    """Magnitude pruning of single weights."""

    name: ClassVar[str] = "sparsify"
    family: ClassVar[Family | None] = "pruned"
    options: ClassVar[type[Options]] = SparsifyOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: SparsifyOptions, context: Context, report: Report
    ) -> Candidate:
        """A copy of the candidate with zeros, retrained and recalibrated.

        Raises:
            TechniqueError: no layer has weights that the pattern fits.
        """
        started = time.perf_counter()
        module, seconds = self._sparse(candidate.module, options, context, report)
        context.recalibrate(module, nothing)
        notes: dict[str, Any] = {
            "pattern": options.pattern,
            "sparsity": sparsity(module.body),
            "dense_layers": _dense_layers(module.body, options),
            "training_seconds": seconds,
            **measured_notes(module, candidate.module, options, context),
        }
        return replace(candidate, module=module).noted(notes, time.perf_counter() - started)

    def _sparse(
        self, start: Scorer, options: SparsifyOptions, context: Context, report: Report
    ) -> tuple[Scorer, float]:
        """The copy after the last round, and the seconds all of them trained."""
        _masks(start.body, options, 1)  # refuses before anything is scored or trained
        rows = retraining_rows(options, context, report)
        finished = rounds_in(context.scratch)
        records = finished.records()
        module = copy.deepcopy(start)
        if records:
            module = finished.load(len(records), lambda: copy.deepcopy(start))
        seconds = sum(float(record["training_seconds"]) for record in records)
        for number in range(len(records) + 1, options.rounds + 1):
            masks = _masks(module.body, options, number)
            masks.apply(module.body)
            trained = retrain(
                module,
                rows,
                options,
                context,
                part_of(report, number - 1, options.rounds),
                epochs=options.epochs_per_round,
                seed=context.seed + number - 1,
                name=f"round-{number}",
                after_step=masks.apply,
            )
            finished.save(number, module, {"training_seconds": trained})
            seconds += trained
        return module, seconds


def _masks(body: nn.Module, options: SparsifyOptions, round_: int) -> Masks:
    if options.n_of_m is None:
        masks = magnitude_masks(body, options.share_after(round_), options.scope, options.keep)
    else:
        masks = n_m_masks(body, *options.n_of_m, options.keep)
    if not masks.kept:
        raise TechniqueError(
            f"sparsify ({options.pattern}) has no weights to work on: it needs Linear or "
            "convolution layers outside of `keep`, and for N:M a number of inputs that M divides"
        )
    return masks


def _dense_layers(body: nn.Module, options: SparsifyOptions) -> list[str]:
    """Layers that the pattern does not fit, or that are kept."""
    masked = set(_masks(body, options, options.rounds).kept)
    return [name for name, _ in sparse_layers(body) if name not in masked]
