"""`prune`: structured pruning in rounds, each followed by retraining.

Whole attention heads and hidden units go, so tensors shrink and any runtime gets faster. Groups
are found by DepGraph (Fang et al., CVPR 2023) through torch-pruning. The residual stream keeps
its width. Retraining listens to the unpruned original beside the labels.
"""

from __future__ import annotations

import copy
import time
import warnings
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch_pruning
from pydantic import Field
from torch import nn

from compression.models.transformer import Attention, Block
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, parameter_count
from compression.techniques.context import Context
from compression.techniques.retraining import RetrainOptions, retrain, retraining_rows
from compression.training.scoring import Report


class PruneOptions(RetrainOptions):
    """What to remove, and how to heal."""

    remove: float = Field(default=0.5, gt=0, lt=1)
    """Share of heads and of hidden units removed in all."""
    rounds: int = Field(default=2, ge=1)
    importance: Literal["magnitude"] = "magnitude"
    epochs_per_round: int = Field(default=1, ge=1)


class Prune:
    """Iterative structured pruning of a transformer."""

    name: ClassVar[str] = "prune"
    family: ClassVar[Family | None] = "pruned"
    options: ClassVar[type[Options]] = PruneOptions
    ends_in_graph: ClassVar[bool] = False

    def apply(
        self, candidate: Candidate, options: PruneOptions, context: Context, report: Report
    ) -> Candidate:
        """A smaller copy of the candidate, retrained and recalibrated."""
        started = time.perf_counter()
        module = copy.deepcopy(candidate.module)
        before = parameter_count(module)
        rows = retraining_rows(options, context, report)
        retraining_seconds = 0.0
        block = blocks_of(module.body)[0]
        heads, hidden = block.attention.heads, block.widen.out_features
        for done in range(options.rounds):
            # Always a share of what there was at first, so that rounding does not add up.
            left = (1 - options.remove) ** ((done + 1) / options.rounds)
            remove_structures(module.body, _share(heads, left), _share(hidden, left), context)
            retraining_seconds += retrain(
                module,
                rows,
                options,
                context,
                _part(report, done, options.rounds),
                epochs=options.epochs_per_round,
                seed=context.seed + done,
                name=f"round-{done}",
            )
        context.recalibrate(module, lambda done, rows: None)
        notes = {
            "parameters_before": before,
            "parameters_after": parameter_count(module),
            "training_seconds": retraining_seconds,
        }
        pruned = replace(candidate, module=module.eval())
        return pruned.noted(notes, time.perf_counter() - started)


def _part(report: Report, part: int, parts: int) -> Report:
    """A report of one part of equal ones, told as a share of the whole."""
    return lambda done, total: report(part * total + done, parts * total)


def blocks_of(body: nn.Module) -> list[Block]:
    """The transformer's blocks; all have as many heads and hidden units."""
    return [part for part in body.modules() if isinstance(part, Block)]


def _share(count: int, share: float) -> int:
    return max(1, round(count * share))


def remove_structures(body: nn.Module, heads: int, hidden: int, context: Context) -> None:
    """Leave `heads` attention heads and `hidden` hidden units in every block, in place."""
    workload = context.workload
    example = tuple(
        torch.from_numpy(array) for array in workload.gather(workload.train[:2]).values()
    )
    blocks = blocks_of(body)
    attentions = [block.attention for block in blocks]
    # The pruner rounds heads removed up and channels left down: half a unit is on the safe side.
    head_ratio = max(0.0, (attentions[0].heads - heads - 0.5) / attentions[0].heads)
    hidden_ratio = max(0.0, 1 - (hidden + 0.5) / blocks[0].widen.out_features)
    present: dict[nn.Module, int] = {
        projection: attention.heads
        for attention in attentions
        for projection in (attention.q, attention.k, attention.v)
    }
    with warnings.catch_warnings():
        # It may cut parameters outside of layers, says the pruner; the residual stream is kept.
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")
        pruner: Any = torch_pruning.pruner.BasePruner(
            body.eval(),
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=head_ratio,  # of layers not named below: attention, by whole heads
            pruning_ratio_dict={block.widen: hidden_ratio for block in blocks},
            num_heads=present,
            prune_num_heads=True,
            prune_head_dims=False,
            head_pruning_ratio=head_ratio,
            ignored_layers=_residual_writers(body, blocks),
        )
    pruner.step()
    _update_heads(attentions, pruner.num_heads)


def _residual_writers(body: nn.Module, blocks: list[Block]) -> list[nn.Module]:
    """Layers whose outputs are the residual stream: their outputs stay."""
    inside = {id(part) for block in blocks for part in block.modules()}
    outside = [
        part for part in body.modules() if isinstance(part, nn.Linear) and id(part) not in inside
    ]
    return [*outside, *(b.attention.out for b in blocks), *(b.narrow for b in blocks)]


def _update_heads(attentions: list[Attention], left: dict[nn.Module, int]) -> None:
    for attention in attentions:
        attention.heads = left[attention.q]
