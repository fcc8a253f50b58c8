from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from compression.errors import DataError
from compression.workloads.fraud import artifact
from compression.workloads.fraud.artifact import (
    RECORD,
    WEIGHTS,
    load_original,
    load_record,
    save_original,
    weights_sha256,
)
from compression.workloads.fraud.workload import FraudWorkload


@pytest.fixture
def folder(tiny_original: Path, tmp_path: Path) -> Path:
    """A copy of the tiny original, to break."""
    return Path(shutil.copytree(tiny_original, tmp_path / "original"))


def test_an_original_reads_back_as_it_was_saved(
    tiny_workload: FraudWorkload, tmp_path: Path
) -> None:
    sizes = {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16}
    body = tiny_workload.transformer(sizes, seed=0)
    architecture = body.config.to_dict()
    record = tiny_workload.original_record.model_copy(update={"architecture": architecture})
    save_original(tmp_path / "new", body, record)
    assert load_record(tmp_path / "new") == record
    scorer = load_original(tmp_path / "new")
    for name, value in body.state_dict().items():
        assert torch.equal(scorer.body.state_dict()[name], value)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([WEIGHTS, RECORD])


def test_the_hash_is_of_the_weights(folder: Path) -> None:
    before = weights_sha256(folder)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert weights_sha256(folder) != before


def test_no_record_is_no_original(folder: Path) -> None:
    (folder / RECORD).unlink()
    with pytest.raises(DataError, match=r"expected training\.json .* Train one with"):
        load_original(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"surprise": 1}'])
def test_a_broken_record_is_named(folder: Path, content: str) -> None:
    (folder / RECORD).write_text(content)
    with pytest.raises(DataError, match=r"training\.json is not a record of a trained original"):
        load_original(folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "junk", "other sizes", "unknown size"])
def test_weights_that_do_not_fit_their_record_are_refused(folder: Path, damage: str) -> None:
    weights = folder / WEIGHTS
    record = json.loads((folder / RECORD).read_text())
    if damage == "missing":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-5])
    elif damage == "junk":
        weights.write_bytes(b"junk")
    elif damage == "other sizes":
        record["architecture"]["width"] = 32
    else:
        record["architecture"]["depth"] = 32
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"training\.json"):
        load_original(folder)


def test_an_interrupted_save_leaves_no_record(
    folder: Path, tiny_workload: FraudWorkload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    body = load_original(folder).body
    monkeypatch.setattr(artifact, "save_file", kill)
    with pytest.raises(KeyboardInterrupt):
        save_original(tmp_path / "new", body, tiny_workload.original_record)  # type: ignore[arg-type]
    assert list((tmp_path / "new").iterdir()) == []
