"""Low-rank layers: one Linear as two thin ones, by truncated singular value decomposition.

Eckart and Young, 1936: of all matrices of rank r the truncated decomposition is the nearest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def largest_useful_rank(linear: nn.Linear) -> int:
    """The highest rank r at which two layers multiply less than one: r·(m + n) < m·n; may be 0."""
    m, n = linear.out_features, linear.in_features
    return (m * n - 1) // (m + n)


def singular_values(linear: nn.Linear) -> Tensor:
    """float64[min(m, n)] of the weight, descending."""
    with torch.no_grad():
        values: Tensor = torch.linalg.svdvals(linear.weight.double())
    return values


def rank_for_energy(values: Tensor, energy: float) -> int:
    """The lowest rank whose squared singular values make up `energy` of all, at least 1."""
    squared = values.square()
    total = squared.sum()
    if float(total) == 0.0:
        return 1
    reached = squared.cumsum(0) / total
    return min(int((reached < energy).sum()) + 1, len(values))


def energy_of_rank(values: Tensor, rank: int) -> float:
    """Share of the squared singular values that the first `rank` of them are."""
    total = float(values.square().sum())
    return 1.0 if total == 0.0 else float(values[:rank].square().sum()) / total


def factorised(linear: nn.Linear, rank: int) -> nn.Sequential:
    """Linear(n → rank, no bias), Linear(rank → m): the nearest of that rank to `linear`.

    The singular values are split evenly between the two, so that both train alike.
    """
    with torch.no_grad():
        left, values, right = torch.linalg.svd(linear.weight.double(), full_matrices=False)
        root = values[:rank].sqrt()
        down = nn.Linear(linear.in_features, rank, bias=False)
        up = nn.Linear(rank, linear.out_features, bias=linear.bias is not None)
        down.weight.copy_(root[:, None] * right[:rank])
        up.weight.copy_(left[:, :rank] * root)
        if linear.bias is not None:
            up.bias.copy_(linear.bias)
    return nn.Sequential(down, up).train(linear.training)
