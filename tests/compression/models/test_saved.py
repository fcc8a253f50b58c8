from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compression.models.saved import load_module, save_module
from compression.pruning.criteria import Magnitude
from compression.pruning.structured import prune_to, removable
from tests.compression.pruning.networks import network


@pytest.mark.parametrize("name", ["conv", "encoder", "grouped"])
def test_a_module_reads_back_as_it_was(name: str, tmp_path: Path) -> None:
    module, example = network(name)
    left = {s.name: s.share(0.5) for s in removable(module, example)}
    prune_to(module, example, left, Magnitude())
    save_module(module, tmp_path / "deep" / "module.safetensors")
    fresh, _ = network(name)
    load_module(fresh, tmp_path / "deep" / "module.safetensors")
    assert torch.equal(fresh.eval()(*example), module.eval()(*example))


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    save_module(module, tmp_path / "m.safetensors")
    fresh = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    load_module(fresh, tmp_path / "m.safetensors")
    assert torch.equal(fresh(torch.ones(1, 3)), module(torch.ones(1, 3)))


def test_half_a_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", kill)
    with pytest.raises(KeyboardInterrupt):
        save_module(nn.Linear(2, 2), tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
