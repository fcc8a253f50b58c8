from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compression.pruning.criteria import Magnitude
from compression.pruning.rounds import Rounds
from compression.pruning.structured import prune_to, removable
from tests.compression.pruning.networks import network


def test_rounds_read_back_as_they_were(tmp_path: Path) -> None:
    module, example = network("encoder")
    left = {s.name: s.share(0.5) for s in removable(module, example)}
    prune_to(module, example, left, Magnitude())
    rounds = Rounds(tmp_path / "scratch")
    assert rounds.records() == []
    rounds.save(1, module, {"left": left})
    rounds.save(2, module, {"left": {}})
    again = Rounds(tmp_path / "scratch")
    assert again.records() == [{"left": left}, {"left": {}}]
    back = again.load(1, lambda: network("encoder")[0]).eval()
    assert torch.equal(back(*example), module.eval()(*example))


def test_a_round_without_its_record_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _ = network("encoder")
    rounds = Rounds(tmp_path)
    rounds.save(1, module, {})

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("json.dumps", kill)
    with pytest.raises(KeyboardInterrupt):
        rounds.save(2, module, {})
    assert len(rounds.records()) == 1
