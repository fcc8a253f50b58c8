from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compression.pruning.dependencies import Dependencies, Structure
from compression.pruning.soundness import is_sound
from tests.compression.pruning.networks import network


def _structure(name: str, layer: str) -> tuple[nn.Module, tuple[Tensor, ...], Structure]:
    module, example = network(name)
    (found,) = (s for s in Dependencies(module, example).structures() if s.name == layer)
    return module, example, found


@pytest.mark.parametrize(
    ("name", "layer"),
    [("conv", "depthwise"), ("encoder", "attention.v_proj"), ("normed_mlp", "0")],
)
def test_hidden_units_and_known_heads_can_go(name: str, layer: str) -> None:
    assert is_sound(*_structure(name, layer))


@pytest.mark.parametrize(("name", "layer"), [("conv", "head"), ("encoder", "head")])
def test_the_output_stays(name: str, layer: str) -> None:
    assert not is_sound(*_structure(name, layer))


def test_heads_that_nobody_can_know_of_stay() -> None:
    module, example, structure = _structure("hidden_heads", "c")
    Dependencies(module, example).remove(structure, range(0, 8, 2))
    assert module(*example).shape == (5,)  # it would run, with the heads mixed up
    assert not is_sound(*_structure("hidden_heads", "c"))


def test_a_layer_of_zeros_hides_no_mistake() -> None:
    module, example, structure = _structure("hidden_heads", "c")
    with torch.no_grad():
        module.get_submodule("d").get_parameter("weight").zero_()
    assert not is_sound(module, example, structure)


class _Mean(nn.Module):
    """The output is a mean over hidden units: its shape does not tell that one is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.hidden(x).mean(1)
        return out


def test_units_that_the_output_is_made_of_stay() -> None:
    module, example = _Mean(), (torch.randn(3, 4),)
    structure = Structure("hidden", "channels", tuple((unit,) for unit in range(8)))
    assert not is_sound(module, example, structure)


def test_a_single_unit_stays() -> None:
    module, example, _ = _structure("normed_mlp", "3")
    assert not is_sound(module, example, Structure("3", "channels", ((0,),)))
