"""Which structures can be taken out of a network without breaking it.

A dependency graph follows gradients, not meaning: it may take a reshape into unknown heads for a
harmless step, or the model's outputs for hidden units. So every structure is tried on a copy. What
is left must run, must give outputs of the same shape, and must compute what the whole network does
once nothing reads the units taken away. The last does not hold where a LayerNorm or GroupNorm
takes its mean over them, and is not asked there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compression.pruning.dependencies import Dependencies, Structure

SHAPE_ERRORS = (RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError)
"""What a forward pass raises when its tensors do not fit."""
TOLERANCE = 1e-3
"""Of what the units taken away amount to in the output."""


def is_sound(body: nn.Module, example: Sequence[Tensor], structure: Structure) -> bool:
    """Whether units of `structure` can go; tried with every second of them on a copy of `body`."""
    whole = _redrawn(body)
    pruned = copy.deepcopy(whole)
    units = range(0, len(structure.units), 2)
    if len(units) == len(structure.units):
        return False
    try:
        dependencies = Dependencies(pruned, example)
        group = dependencies.group(structure, units)
        readers, normalised = dependencies.readers(group), dependencies.normalises(group)
        dependencies.remove(structure, units)
        expected, given = _outputs(whole, example), _outputs(pruned, example)
    except SHAPE_ERRORS:
        return False
    if [o.shape for o in expected] != [o.shape for o in given]:
        return False
    if normalised:
        return True
    return bool(readers) and _alike(expected, _silenced(whole, readers, example), given)


def _redrawn(body: nn.Module) -> nn.Module:
    """A copy with weights drawn anew: a layer of zeros would hide a mistake."""
    drawn = copy.deepcopy(body).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in drawn.parameters():
            if parameter.dtype.is_floating_point:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
                fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 10
                parameter.copy_(noise * fan_in**-0.5 + (parameter.dim() == 1))
    return drawn


def _outputs(body: nn.Module, example: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        outputs = body.eval()(*example)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _silenced(
    whole: nn.Module, readers: Sequence[tuple[str, list[int]]], example: Sequence[Tensor]
) -> list[Tensor]:
    """Outputs of the whole network when its readers pass over the channels named."""
    silenced = copy.deepcopy(whole)
    with torch.no_grad():
        for name, channels in readers:
            _silence(silenced.get_submodule(name), channels)
    return _outputs(silenced, example)


def _silence(reader: nn.Module, channels: Sequence[int]) -> None:
    """Zero the weights that read these input channels."""
    weight = reader.get_parameter("weight")
    if getattr(reader, "transposed", False):
        weight[list(channels)] = 0
        return
    groups = getattr(reader, "groups", 1)
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    for channel in channels:
        group, column = divmod(channel, inputs)
        weight[group * outputs : (group + 1) * outputs, column] = 0


def _alike(whole: list[Tensor], silenced: list[Tensor], pruned: list[Tensor]) -> bool:
    """True if `pruned` is `silenced`, up to a small part of what silencing did, and rounding."""
    for before, expected, given in zip(whole, silenced, pruned, strict=True):
        effect = (before - expected).abs().max()
        rounding = 1e-5 * expected.abs().max()
        if not bool((expected - given).abs().max() <= TOLERANCE * effect + rounding):
            return False
    return True
