"""Sparse weights: masks that say which weights are zero, and hold them there in training.

Magnitude pruning: Han et al., "Learning both Weights and Connections", 2015. N:M sparsity, of M
neighbouring inputs of an output at most N weights: Mishra et al., "Accelerating Sparse Deep Neural
Networks", 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

Scope = Literal["global", "layer"]
LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


@dataclass(frozen=True)
class Masks:
    """Which weights stay, bool of a weight's shape by parameter name; the others are zero."""

    kept: Mapping[str, Tensor]

    def apply(self, module: nn.Module) -> None:
        """Zero what is masked, in place; after an optimiser's step it holds the masks."""
        with torch.no_grad():
            for name, mask in self.kept.items():
                module.get_parameter(name).mul_(mask)


def sparse_layers(module: nn.Module, keep: Sequence[str] = ()) -> Iterator[tuple[str, Tensor]]:
    """(parameter name, weight) of Linear and convolution layers, but those matching `keep`."""
    for name, part in module.named_modules():
        if isinstance(part, LAYERS) and not any(fnmatchcase(name, p) for p in keep):
            yield (f"{name}.weight" if name else "weight"), part.weight.detach()


def sparsity(module: nn.Module) -> float:
    """Share of the weights of Linear and convolution layers that are zero."""
    weights = [weight for _, weight in sparse_layers(module)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / max(1, sum(weight.numel() for weight in weights))


def magnitude_masks(
    module: nn.Module, share: float, scope: Scope = "global", keep: Sequence[str] = ()
) -> Masks:
    """Masks that zero exactly `share` of the weights, rounded: the smallest.

    `global` ranks the weights of all layers together, `layer` those of each on its own.
    """
    weights = dict(sparse_layers(module, keep))
    if scope == "layer" or not weights:
        return Masks({name: _largest(weight, share) for name, weight in weights.items()})
    together = _largest(torch.cat([weight.flatten() for weight in weights.values()]), share)
    parts = torch.split(together, [weight.numel() for weight in weights.values()])
    return Masks(
        {
            name: part.reshape(weight.shape)
            for (name, weight), part in zip(weights.items(), parts, strict=True)
        }
    )


def _largest(weight: Tensor, share: float) -> Tensor:
    """bool mask of all but the smallest `share`."""
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    order = torch.argsort(weight.abs().flatten(), stable=True)
    mask[order[: round(share * weight.numel())]] = False
    return mask.reshape(weight.shape)


def n_m_masks(module: nn.Module, n: int, m: int, keep: Sequence[str] = ()) -> Masks:
    """Masks that keep the `n` largest of every `m` weights on neighbouring inputs of an output.

    A layer whose inputs `m` does not divide stays dense, and is not among the masks.
    """
    return Masks(
        {
            name: _n_of_m(weight, n, m)
            for name, weight in sparse_layers(module, keep)
            if weight.shape[1] % m == 0
        }
    )


def _n_of_m(weight: Tensor, n: int, m: int) -> Tensor:
    inputs_last = weight.abs().movedim(1, -1)
    groups = inputs_last.reshape(*inputs_last.shape[:-1], -1, m)
    largest = groups.topk(n, dim=-1).indices
    mask = torch.zeros(groups.shape, dtype=torch.bool).scatter_(-1, largest, True)
    return mask.reshape(inputs_last.shape).movedim(-1, 1).contiguous()
