"""Structured pruning of any network: whole units go, tensors shrink, every runtime gets faster."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

from compression.pruning.criteria import Criterion, Score
from compression.pruning.dependencies import Dependencies, Kind, Structure
from compression.pruning.soundness import is_sound

Structures = Literal["heads_and_channels", "heads", "channels"]
_KINDS: Mapping[Structures, tuple[Kind, ...]] = {
    "heads_and_channels": ("heads", "channels"),
    "heads": ("heads",),
    "channels": ("channels",),
}


def removable(
    body: nn.Module,
    example: Sequence[Tensor],
    kinds: Structures = "heads_and_channels",
    keep: Sequence[str] = (),
) -> tuple[Structure, ...]:
    """The structures that units can be taken from, in the graph's order.

    `example` are the network's inputs, two rows or more. `keep` are patterns of layer names
    (`stem.*`) that must stay as they are. The output layer, residual streams and whatever does not
    survive a trial (`compression.pruning.soundness`) are left out.
    """
    found = Dependencies(copy.deepcopy(body), example).structures()
    return tuple(
        structure
        for structure in found
        if structure.kind in _KINDS[kinds]
        and not any(fnmatchcase(structure.name, pattern) for pattern in keep)
        and is_sound(body, example, structure)
    )


def prune_to(
    body: nn.Module, example: Sequence[Tensor], left: Mapping[str, int], criterion: Criterion
) -> int:
    """Take the least worthy units of each structure named until `left` of them are there.

    In place; gives the number of units taken. Structures are ranked each on its own.
    """
    score = criterion(body)
    dependencies = Dependencies(body, example)
    present = {structure.name: structure for structure in dependencies.structures()}
    # All are ranked before any goes: a layer's weights are part of its neighbours' worth.
    going = {
        name: _least(dependencies, present[name], len(present[name].units) - count, score)
        for name, count in left.items()
        if name in present
    }
    for name, units in going.items():
        dependencies.remove(present[name], units)
    body.zero_grad(set_to_none=True)
    return sum(len(units) for units in going.values())


def _least(
    dependencies: Dependencies, structure: Structure, count: int, score: Score
) -> tuple[int, ...]:
    """The `count` units of a structure that are worth least."""
    if count <= 0:
        return ()
    worth = score(dependencies.group(structure, range(len(structure.units))))
    if worth is None:
        return ()
    of_units = torch.stack([worth[list(channels)].mean() for channels in structure.units])
    return tuple(int(unit) for unit in torch.argsort(of_units, stable=True)[:count])
