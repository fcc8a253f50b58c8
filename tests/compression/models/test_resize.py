from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compression.models.attention import attentions
from compression.models.low_rank import factorised
from compression.models.resize import resize_to, structure_of
from compression.pruning.criteria import Magnitude
from compression.pruning.structured import prune_to, removable
from tests.compression.pruning.networks import NETWORKS, network


def _pruned(name: str) -> nn.Module:
    module, example = network(name)
    left = {s.name: s.share(0.4) for s in removable(module, example)}
    prune_to(module, example, left, Magnitude())
    return module.eval()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_pruned_network_is_rebuilt_from_its_weights(name: str) -> None:
    pruned, (fresh, example) = _pruned(name), network(name)
    state = pruned.state_dict()
    assert {k: v.shape for k, v in fresh.state_dict().items()} != {
        k: v.shape for k, v in state.items()
    }
    resize_to(fresh, state, structure_of(pruned))
    fresh.load_state_dict(state)
    assert torch.equal(fresh.eval()(*example), pruned(*example))
    assert repr(fresh) == repr(pruned)  # the sizes that layers tell of themselves
    assert structure_of(fresh) == structure_of(pruned)


def test_a_rebuilt_network_can_be_pruned_again() -> None:
    pruned, (fresh, example) = _pruned("conv"), network("conv")
    resize_to(fresh, pruned.state_dict(), structure_of(pruned))
    left = {s.name: s.share(0.5) for s in removable(fresh, example)}
    assert prune_to(fresh, example, left, Magnitude()) > 0
    assert fresh(*example).shape == (5, 4)


def test_factorised_layers_are_rebuilt(  # and those that were pruned before
) -> None:
    module, (fresh, example) = _pruned("transactions"), network("transactions")
    block = module.get_submodule("blocks.0")
    block.add_module("widen", factorised(block.get_submodule("widen"), 3))  # type: ignore[arg-type]
    attention = module.get_submodule("blocks.1.attention")
    attention.add_module("q", factorised(attention.get_submodule("q"), 2))  # type: ignore[arg-type]
    state = module.state_dict()
    resize_to(fresh, state, structure_of(module))
    fresh.load_state_dict(state)
    assert torch.equal(fresh.eval()(*example), module(*example))
    assert attentions(fresh)["blocks.1.attention"].heads == 2


def test_what_has_its_size_already_is_left_alone() -> None:
    module, _ = network("transactions")
    before = dict(module.named_parameters())
    resize_to(module, module.state_dict(), structure_of(module))
    assert all(parameter is before[name] for name, parameter in module.named_parameters())


def test_layers_without_bias_stay_without() -> None:
    module = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 2))
    resize_to(module, {"0.weight": torch.zeros(3, 4), "1.weight": torch.zeros(2, 3)}, {})
    first, last = module
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert first.bias is None
    assert (first.out_features, last.in_features) == (3, 3)


def test_norms_without_weights_are_told_by_the_structure() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3, elementwise_affine=False))
    fresh = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False))
    resize_to(fresh, module.state_dict(), structure_of(module))
    fresh.load_state_dict(module.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(fresh(x), module(x))


def test_a_network_that_is_one_layer() -> None:
    fresh, module = nn.Linear(8, 4), nn.Linear(5, 4)
    resize_to(fresh, module.state_dict(), structure_of(module))
    fresh.load_state_dict(copy.deepcopy(module.state_dict()))
    assert fresh(torch.zeros(1, 5)).shape == (1, 4)
