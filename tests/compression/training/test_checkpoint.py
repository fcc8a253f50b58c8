from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from compression.errors import TrainingError
from compression.training import checkpoint
from compression.training.loop import TrainConfig
from tests.compression.training.toy import CONFIG, Toy, toy_trainer

RUN = {"data": "abc", "sizes": [1, 2]}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("checkpoint")) / "toy.safetensors"
    toy_trainer(path=path, run=RUN).fit()
    return path


def test_a_checkpoint_gives_back_everything_training_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "work" / "toy.safetensors"
    model = Toy()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(3, 4)).sum().backward()
    optimiser.step()
    average = {name: value + 1 for name, value in model.state_dict().items()}
    best = {name: value + 2 for name, value in model.state_dict().items()}
    progress = checkpoint.Progress(2, [{"epoch": 0.0}, {"epoch": 1.0}], best)
    checkpoint.save(path, RUN, model, average, optimiser, progress)

    other, given = Toy(), {name: value.clone() for name, value in Toy().state_dict().items()}
    resumed = torch.optim.AdamW(other.parameters(), lr=0.1)
    back = checkpoint.restore(path, RUN, other, given, resumed)
    assert (back.epochs_done, back.history) == (2, progress.history)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
        assert torch.equal(given[name], average[name])
        assert torch.equal(back.best[name], best[name])
    expected = optimiser.state_dict()["state"]
    assert expected
    for index, slots in resumed.state_dict()["state"].items():
        for slot, value in slots.items():
            assert torch.equal(value, expected[index][slot])


@pytest.mark.parametrize(
    ("config", "run"),
    [
        (replace(CONFIG, learning_rate=0.01), RUN),
        (replace(CONFIG, epochs=8), RUN),
        (replace(CONFIG, seed=9), RUN),
        (CONFIG, {**RUN, "data": "another hash"}),
        (CONFIG, {}),
    ],
)
def test_a_checkpoint_of_other_settings_or_data_is_refused(
    written: Path, config: TrainConfig, run: dict[str, Any]
) -> None:
    trainer = toy_trainer(config, path=written, run=run)
    with pytest.raises(TrainingError, match=f"{written} .* other settings or data: delete it"):
        trainer.fit()


def test_settings_are_compared_as_json_has_them(written: Path) -> None:
    toy_trainer(path=written, run={"sizes": (1, 2), "data": "abc"}).fit()


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 100], ids=["empty", "junk", "ones"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.safetensors"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"toy\.safetensors cannot be read.*delete it"):
        toy_trainer(path=path).fit()


def test_a_checkpoint_is_tensors_and_json(written: Path) -> None:
    with safe_open(written, "pt") as file:
        assert json.loads(file.metadata()["run"])["data"] == "abc"
        groups = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118
    assert groups == {"model", "average", "best", "optimiser"}


def test_an_interrupted_save_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.safetensors"
    trainer = toy_trainer(path=path)
    trainer.fit()
    before = path.read_bytes()

    write_bytes = Path.write_bytes

    def half(aside: Path, content: bytes) -> int:
        write_bytes(aside, content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    progress = checkpoint.Progress()
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {}, trainer.model, {}, trainer._optimiser, progress)
    assert path.read_bytes() == before


def test_tensors_of_something_else_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(Toy().state_dict(), path)
    with pytest.raises(TrainingError, match="other settings or data"):
        toy_trainer(path=path).fit()
