from __future__ import annotations

import pytest
import torch
from torch import nn

from compression.pruning.masks import magnitude_masks, n_m_masks, sparse_layers, sparsity
from tests.compression.pruning.networks import network


def _zeros(module: nn.Module, name: str) -> int:
    return int((module.get_parameter(name) == 0).sum())


def test_exactly_the_share_asked_for_is_zero() -> None:
    module, _ = network("conv")
    masks = magnitude_masks(module, 0.7)
    masks.apply(module)
    weights = sum(weight.numel() for _, weight in sparse_layers(module))
    assert sum(_zeros(module, name) for name in masks.kept) == round(0.7 * weights)
    assert sparsity(module) == pytest.approx(0.7, abs=1e-3)


def test_globally_the_smallest_weights_go() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    first, last = (module[i].get_parameter("weight") for i in (0, 1))
    with torch.no_grad():
        first.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        last.copy_(torch.tensor([[-0.5, 10.0]]))
    magnitude_masks(module, 0.5).apply(module)
    assert first.tolist() == [[0.0, 0.0], [3.0, 4.0]]
    assert last.tolist() == [[0.0, 10.0]]


def test_by_layer_each_loses_its_share() -> None:
    module, _ = network("conv")
    masks = magnitude_masks(module, 0.5, "layer")
    for name, mask in masks.kept.items():
        assert int((~mask).sum()) == round(mask.numel() / 2), name


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8)])
def test_of_m_neighbouring_inputs_n_weights_stay(n: int, m: int) -> None:
    module, _ = network("encoder")
    masks = n_m_masks(module, n, m)
    before = {name: weight.clone() for name, weight in sparse_layers(module)}
    masks.apply(module)
    assert "embed.weight" not in masks.kept  # of its five inputs m makes no groups
    assert len(masks.kept) == 7
    for name, mask in masks.kept.items():
        groups = module.get_parameter(name).reshape(-1, m)
        assert ((groups != 0).sum(1) == n).all()
        largest = before[name].abs().reshape(-1, m).topk(n).values.sort(1).values
        kept = groups.detach().abs().sort(1, descending=True).values[:, :n].sort(1).values
        assert torch.equal(kept, largest)
        assert mask.dtype == torch.bool


def test_of_a_convolution_neighbours_are_input_channels() -> None:
    module = nn.Sequential(nn.Conv2d(8, 3, 3))
    n_m_masks(module, 2, 4).apply(module)
    zeros = (module[0].get_parameter("weight") == 0).reshape(3, 2, 4, 3, 3).sum(2)
    assert (zeros == 2).all()


def test_layers_can_be_kept_dense() -> None:
    module, _ = network("encoder")
    masks = magnitude_masks(module, 0.5, keep=("attention.*", "head"))
    assert set(masks.kept) == {"embed.weight", "feed.0.weight", "feed.2.weight"}


def test_masks_hold_whatever_training_does() -> None:
    module = nn.Linear(8, 8)
    masks = magnitude_masks(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1.0)
    masks.apply(module)
    assert torch.equal(module.weight == 0, ~masks.kept["weight"])


def test_masks_are_of_weights_not_of_biases() -> None:
    module = nn.Linear(4, 4)
    with torch.no_grad():
        module.bias.zero_()
    assert set(magnitude_masks(module, 0.5).kept) == {"weight"}
    assert sparsity(module) == 0
