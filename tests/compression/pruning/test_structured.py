from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.models.attention import attentions
from compression.pruning.criteria import Magnitude
from compression.pruning.dependencies import Dependencies, Structure
from compression.pruning.structured import prune_to, removable
from tests.compression.pruning.networks import NETWORKS, network

FOUND: dict[str, dict[str, tuple[str, int]]] = {
    "conv": {
        "hidden": ("channels", 10),
        "down": ("channels", 6),
        "depthwise": ("channels", 8),
        "inner": ("channels", 12),
    },
    "encoder": {"attention.v_proj": ("heads", 4), "feed.0": ("channels", 24)},
    "hidden_heads": {"d": ("channels", 8)},
    "normed_mlp": {"0": ("channels", 64), "3": ("channels", 8)},
    "grouped": {"0": ("channels", 4), "3": ("channels", 4), "5": ("channels", 4)},
    "library_encoder": {"0.linear1": ("channels", 16)},
    "reader": {"hops.0.widen": ("channels", 12)},
    "recurrent": {"hidden": ("channels", 10)},
    "siamese": {
        "features.0": ("channels", 6),
        "features.3": ("channels", 6),
        "features.6": ("channels", 8),
        "features.9": ("channels", 8),
    },
    "transactions": {
        "blocks.0.attention.v": ("heads", 4),
        "blocks.0.widen": ("channels", 32),
        "blocks.1.attention.v": ("heads", 4),
        "blocks.1.widen": ("channels", 32),
    },
}
"""Outputs, residual streams and heads that nobody can know of are not among them."""


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_what_can_be_pruned_is_found_in_anyones_network(name: str) -> None:
    module, example = network(name)
    found = {s.name: (s.kind, len(s.units)) for s in removable(module, example)}
    assert found == FOUND[name]


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("share", [0.75, 0.34, 0.01])
def test_exactly_the_share_asked_for_is_left_and_it_runs(name: str, share: float) -> None:
    module, example = network(name)
    shape = module(*example).shape
    found = removable(module, example)
    left = {s.name: s.share(share) for s in found}
    prune_to(module, example, left, Magnitude())
    after = {s.name: len(s.units) for s in Dependencies(module, example).structures()}
    assert left == {name: after.get(name, count) for name, count in left.items()}
    for structure in found:
        if structure.kind == "channels":
            width = module.get_submodule(structure.name).get_parameter("weight").shape[0]
            assert width == left[structure.name] * len(structure.units[0])
    assert module(*example).shape == shape
    assert torch.isfinite(module(*example)).all()


def _readers(module: nn.Module, example: tuple[Tensor, ...], name: str) -> Any:
    dependencies = Dependencies(module, example)
    (structure,) = (s for s in dependencies.structures() if s.name == name)
    return dependencies, structure


@pytest.mark.parametrize(
    ("name", "layer"),
    [(n, layer) for n in ("conv", "encoder", "transactions") for layer in FOUND[n]],
)
def test_a_unit_taken_away_is_a_unit_that_nobody_reads(name: str, layer: str) -> None:
    module, example = network(name)
    silenced = copy.deepcopy(module)
    dependencies, structure = _readers(module, example, layer)
    gone = [0, 2, 3]
    with torch.no_grad():
        for reader, columns in dependencies.readers(dependencies.group(structure, gone)):
            silenced.get_submodule(reader).get_parameter("weight")[:, columns] = 0
    whole = module(*example)
    dependencies.remove(structure, gone)
    assert torch.allclose(module(*example), silenced(*example), atol=1e-5)
    assert not torch.allclose(module(*example), whole, atol=1e-3)


def test_the_least_units_go_first_and_norms_keep_step() -> None:
    module, example = network("normed_mlp")
    kept = [3, 5, 60]  # of which a set is not sorted
    weak = [unit for unit in range(64) if unit not in kept]
    first, norm = (module.get_submodule(name).get_parameter("weight") for name in ("0", "1"))
    with torch.no_grad():
        norm.copy_(torch.arange(64.0) + 1)
        first[weak] *= 1e-3
        norm[weak] *= 1e-3
    expected = [first[kept].clone(), norm[kept].clone()]
    assert prune_to(module, example, {"0": 3}, Magnitude()) == 61
    for name, weight in zip(("0", "1"), expected, strict=True):
        assert torch.equal(module.get_submodule(name).get_parameter("weight"), weight)


def test_the_least_head_goes_whole() -> None:
    module, example = network("encoder")
    attention = module.get_submodule("attention")
    weak = slice(4, 8)
    with torch.no_grad():
        for name in ("q_proj", "k_proj", "v_proj"):
            attention.get_submodule(name).get_parameter("weight")[weak] *= 1e-3
        attention.get_submodule("out_proj").get_parameter("weight")[:, weak] *= 1e-3
    before = attention.get_submodule("q_proj").get_parameter("weight")
    kept = torch.cat((before[:4], before[8:])).clone()
    assert prune_to(module, example, {"attention.v_proj": 3}, Magnitude()) == 1
    assert attentions(module)["attention"].heads == 3
    assert torch.equal(attention.get_submodule("q_proj").get_parameter("weight"), kept)


def test_layers_can_be_kept_and_kinds_chosen() -> None:
    module, example = network("transactions")
    assert {s.kind for s in removable(module, example, "heads")} == {"heads"}
    assert {s.kind for s in removable(module, example, "channels")} == {"channels"}
    found = removable(module, example, keep=("blocks.0.*", "*.widen"))
    assert [s.name for s in found] == ["blocks.1.attention.v"]


def test_looking_changes_nothing() -> None:
    module, example = network("conv")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    removable(module, example)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_something_is_always_left() -> None:
    single = Structure("a", "channels", tuple((unit,) for unit in range(8)))
    assert [single.share(share) for share in (0.5, 0.7, 0.01)] == [4, 6, 1]
    grouped = Structure("a", "channels", tuple((unit, unit + 8) for unit in range(8)))
    assert [grouped.share(share) for share in (0.5, 0.01)] == [4, 2]
