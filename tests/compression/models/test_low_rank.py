from __future__ import annotations

import pytest
import torch
from torch import nn

from compression.models.low_rank import (
    energy_of_rank,
    factorised,
    largest_useful_rank,
    rank_for_energy,
    singular_values,
)


@pytest.mark.parametrize(("m", "n"), [(64, 64), (10, 200), (7, 3), (1, 9), (1, 1)])
def test_the_largest_rank_that_still_saves_multiplications(m: int, n: int) -> None:
    rank = largest_useful_rank(nn.Linear(n, m))
    assert rank * (m + n) < m * n <= (rank + 1) * (m + n)


def test_at_full_rank_nothing_changes() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(12, 7), torch.randn(5, 12)
    assert torch.allclose(factorised(linear, 7)(x), linear(x), atol=1e-5)


def test_it_is_the_nearest_of_its_rank() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(12, 9)
    values = singular_values(linear)
    down, up = (layer.get_parameter("weight") for layer in factorised(linear, 4))
    error = (linear.weight - up @ down).square().sum()
    assert float(error.detach()) == pytest.approx(float(values[4:].square().sum()), rel=1e-4)


def test_both_halves_are_of_one_size() -> None:
    down, up = factorised(nn.Linear(20, 30), 5)
    assert (down.weight.shape, up.weight.shape) == ((5, 20), (30, 5))
    assert down.bias is None
    assert float(down.weight.norm().detach()) == pytest.approx(float(up.weight.norm().detach()))


def test_the_bias_is_kept_or_stays_away() -> None:
    linear = nn.Linear(4, 4)
    assert torch.equal(factorised(linear, 2)[1].get_parameter("bias"), linear.bias)
    assert factorised(nn.Linear(4, 4, bias=False), 2)[1].bias is None


@pytest.mark.parametrize(
    ("energy", "rank"), [(0.5, 1), (0.8, 2), (0.81, 2), (0.96, 3), (0.99, 4), (1.0, 4)]
)
def test_rank_for_a_share_of_the_energy(energy: float, rank: int) -> None:
    values = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64).sqrt() * 3
    values = values.square()  # 36, 27, 18, 9: squares 1296, 729, 324, 81 of 2430
    found = rank_for_energy(values, energy)
    assert found == rank
    assert energy_of_rank(values, found) >= energy - 1e-12
    assert found == 1 or energy_of_rank(values, found - 1) < energy


def test_a_layer_of_zeros_has_a_rank_too() -> None:
    values = torch.zeros(3, dtype=torch.float64)
    assert rank_for_energy(values, 0.9) == 1
    assert energy_of_rank(values, 1) == 1.0
