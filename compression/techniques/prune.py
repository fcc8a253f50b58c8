"""`prune`: structured pruning in rounds, each followed by retraining.

Whole attention heads, hidden units and convolution channels go, so tensors shrink and any runtime
gets faster. It works on any network that can be traced, see `compression.pruning`. Each round takes
a little, retrains (listening to the unpruned original beside the labels) and measures, until a
target is met or the gate would break. Finished rounds are kept, so an interrupted run goes on.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from compression.errors import TechniqueError
from compression.graphs.inspect import flops_per_row
from compression.graphs.session import scores_of
from compression.models.scorer import Scorer
from compression.pruning.criteria import Criterion, Importance, Magnitude, Taylor
from compression.pruning.rounds import rounds_in
from compression.pruning.schedule import Plan, Reason, RoundRecord, kept, plans, reason_to_stop
from compression.pruning.structured import Structures, prune_to, removable
from compression.pruning.targets import Figures, Targets, measure
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.measuring import MeasuredOptions, measured_notes, one_row
from compression.techniques.retraining import objective, retrain, retraining_rows
from compression.training.rows import TrainingRows
from compression.training.scoring import Report, nothing, part_of

EXAMPLE_ROWS = 4
REMOVE, ROUNDS, STEP_SHARE, MOST_ROUNDS = 0.5, 2, 0.15, 12


class PruneOptions(MeasuredOptions):
    """What to remove, until when, and how to heal: `remove` a share, or go on to a `target`."""

    structure: Structures = "heads_and_channels"
    keep: tuple[str, ...] = ()
    """Layers whose outputs stay, as patterns of their names: `stem.*`."""
    remove: float | None = Field(default=None, gt=0, lt=1)
    """Share of heads and of channels removed in all; a half if there is no target either."""
    target: Targets | None = None
    """Go on until this is met, e.g. {speedup: 2.0}; all that it names must hold."""
    step_share: float | None = Field(default=None, gt=0, lt=1)
    """With a target: share of what is left that goes in each round; 0.15 if not said."""
    rounds: int | None = Field(default=None, ge=1)
    """In how many rounds `remove` is done, 2 if not said; with a target at most so many, or 12."""
    importance: Importance = "taylor"
    """What goes first. Without retraining, 60 % of the fraud original's units kept 0.91 of average
    precision when chosen by `taylor`, and 0.85 by `magnitude`.
    """
    importance_batches: int = Field(default=8, ge=1)
    """Batches of training rows that the gradients of `taylor` are taken on."""
    epochs_per_round: int = Field(default=1, ge=1)
    stop_at_gate: bool = True
    """Stop before the gate would break on validation rows, and give the last round that held."""

    @model_validator(mode="after")
    def _one_way_to_end(self) -> Self:
        if self.remove is not None and self.target is not None:
            raise ValueError("remove and target are two ways to say when to end: give one of them")
        if self.step_share is not None and self.target is None:
            raise ValueError(
                "step_share goes with target; with remove, rounds says how much goes at once"
            )
        return self

    @property
    def listens_to_gate(self) -> bool:
        """It stops at the gate."""
        return self.stop_at_gate

    @property
    def most_rounds(self) -> int:
        """Rounds at most."""
        return self.rounds or (ROUNDS if self.target is None else MOST_ROUNDS)

    def share_left(self, step: int) -> float:
        """Share of the units there were at first that is left after a step."""
        going = (self.step_share or STEP_SHARE) if self.target else (self.remove or REMOVE)
        return math.pow(1 - going, step if self.target else step / self.most_rounds)


class Prune:
    """Iterative structured pruning."""

    name: ClassVar[str] = "prune"
    family: ClassVar[Family | None] = "pruned"
    options: ClassVar[type[Options]] = PruneOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: PruneOptions, context: Context, report: Report
    ) -> Candidate:
        """A smaller copy of the candidate, retrained and recalibrated.

        Raises:
            TechniqueError: there is nothing that can be removed, or the target is met already.
        """
        started = time.perf_counter()
        module, notes = _Pruning(candidate.module, options, context).run(report)
        pruned = replace(candidate, module=module.eval())
        return pruned.noted(notes, time.perf_counter() - started)


@dataclass(frozen=True)
class _Pruning:
    """One application of the technique."""

    start: Scorer
    options: PruneOptions
    context: Context

    def run(self, report: Report) -> tuple[Scorer, dict[str, Any]]:
        """All rounds; the module to keep, and notes."""
        self._check_target()
        rounds = self._plans()
        rows = retraining_rows(self.options, self.context, report)
        finished = rounds_in(self.context.scratch)
        records = [RoundRecord.model_validate(record) for record in finished.records()]
        modules = {number: finished.load(number, self._copy) for number in _needed(records)}
        while (reason := self._reason_to_stop(records, rounds)) is None:
            number = len(records) + 1
            module = copy.deepcopy(modules.get(number - 1, self.start))
            part = part_of(report, number - 1, len(rounds))
            record = self._round(module, rounds[number - 1], number, rows, part)
            finished.save(number, module, record.model_dump(mode="json"))
            records.append(record)
            modules[number] = module
            modules = {n: modules[n] for n in _needed(records)}
        chosen = kept(records)
        return modules[chosen], {
            "stopped": reason,
            "rounds": [record.model_dump(mode="json") for record in records],
            "round_kept": chosen,
            **self._notes(modules[chosen], records, chosen),
        }

    def _reason_to_stop(self, records: list[RoundRecord], rounds: list[Plan]) -> Reason | None:
        return reason_to_stop(records, rounds, self.options.most_rounds, self.options.target)

    def _copy(self) -> Scorer:
        return copy.deepcopy(self.start)

    @property
    def _example(self) -> tuple[Tensor, ...]:
        workload = self.context.workload
        inputs = workload.gather(workload.train[:EXAMPLE_ROWS])
        return tuple(torch.from_numpy(array) for array in inputs.values())

    def _plans(self) -> list[Plan]:
        options = self.options
        structures = removable(self.start.body, self._example, options.structure, options.keep)
        steps = options.most_rounds if options.target is None else None
        rounds = plans(structures, options.share_left, steps, options.most_rounds)
        if not rounds:
            found = ", ".join(f"{s.name} ({len(s.units)} {s.kind})" for s in structures) or "none"
            raise TechniqueError(
                f"prune can remove nothing: of the structures that may go ({found}) the options "
                f"leave all (structure: {options.structure}, keep: {list(options.keep)}, remove: "
                f"{options.remove}): ask for more, or leave prune out"
            )
        return rounds

    def _check_target(self) -> None:
        target = self.options.target
        if target is None:
            return
        graph = self.context.float_graph(self.start)
        now = Figures(parameter_count(self.start), len(graph), flops_per_row(graph), 1.0, 1.0, 1.0)
        if not target.missed(now):
            raise TechniqueError(
                f"prune.target {target.bounds()} is met before anything is pruned: the model has "
                f"{now.parameters} parameters, {now.bytes} bytes and {now.flops} flops a row: "
                "lower the target, or leave prune out"
            )

    def _criterion(self, rows: TrainingRows, seed: int) -> Criterion:
        options = self.options
        if options.importance == "magnitude":
            return Magnitude()
        generator = np.random.default_rng(seed)
        positions = rows.epoch(generator, options.negatives_per_positive)
        taken = positions[: options.importance_batches * options.batch_rows]
        batches = tuple(rows.batches(taken, max(1, min(options.batch_rows, len(taken)))))
        return Taylor(batches, objective(options, self.context))

    def _round(
        self, module: Scorer, left: Plan, number: int, rows: TrainingRows, report: Report
    ) -> RoundRecord:
        """Prune, retrain and measure the module, in place."""
        options, context = self.options, self.context
        seed = context.seed + number - 1
        prune_to(module.body, self._example, left, self._criterion(rows, seed))
        seconds = retrain(
            module,
            rows,
            options,
            context,
            report,
            epochs=options.epochs_per_round,
            seed=seed,
            name=f"round-{number}",
        )
        context.recalibrate(module, nothing)
        graph, start = context.float_graph(module), context.float_graph(self.start)
        count, row = parameter_count(module), one_row(context)
        figures = measure(graph, start, count, row, options.measure_seconds)
        record = RoundRecord(left=left, figures=figures, training_seconds=seconds)
        return self._judged(record, graph) if options.stop_at_gate else record

    def _judged(self, record: RoundRecord, graph: bytes) -> RoundRecord:
        gather = self.context.workload.gather
        gate = self.context.validation_gate(lambda rows: scores_of(graph, gather, rows, workers=1))
        broken = tuple(check.name for check in gate.checks if not check.passed)
        return record.model_copy(update={"gate": gate.verdict, "broken": broken})

    def _notes(self, module: Scorer, records: list[RoundRecord], chosen: int) -> dict[str, Any]:
        target = self.options.target
        figures = records[chosen - 1].figures
        notes: dict[str, Any] = {
            "parameters_before": parameter_count(self.start),
            "parameters_after": parameter_count(module),
            "training_seconds": sum(record.training_seconds for record in records),
            "gate_held": records[chosen - 1].held if self.options.stop_at_gate else None,
            **measured_notes(module, self.start, self.options, self.context),
        }
        if target is not None:
            reached = {name: getattr(figures, name) for name in target.bounds()}
            notes |= {
                "target": target.bounds(),
                "target_reached": reached,
                "target_missed": list(target.missed(figures)),
            }
        return notes


def _needed(records: list[RoundRecord]) -> set[int]:
    """Rounds whose modules are still needed: the last, and the one to keep."""
    return {len(records), kept(records)} if records else set()
