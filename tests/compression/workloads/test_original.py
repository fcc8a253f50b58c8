from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compression.errors import DataError
from compression.workloads import original
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.original import (
    RECORD,
    WEIGHTS,
    load_record,
    save_original,
)
from tests.compression.conftest import TINY_SIZES


@pytest.fixture
def folder(tiny_original: Path, tmp_path: Path) -> Path:
    """A copy of the tiny original, to break."""
    return Path(shutil.copytree(tiny_original, tmp_path / "original"))


def _at(workload: FraudWorkload, folder: Path) -> FraudWorkload:
    """The workload with its original somewhere else."""
    return FraudWorkload(workload.config.model_copy(update={"original": folder}))


def test_an_original_reads_back_as_it_was_saved(
    tiny_workload: FraudWorkload, tmp_path: Path
) -> None:
    body = tiny_workload.student({"width": 8, "heads": 2})
    architecture = body.config.to_dict()
    record = tiny_workload.original_record.model_copy(update={"architecture": architecture})
    save_original(tmp_path / "new", body, record)
    assert load_record(tmp_path / "new") == record
    scorer = _at(tiny_workload, tmp_path / "new").original()
    for name, value in body.state_dict().items():
        assert torch.equal(scorer.body.state_dict()[name], value)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([WEIGHTS, RECORD])


def test_the_hash_is_of_the_weights(tiny_workload: FraudWorkload, folder: Path) -> None:
    assert _at(tiny_workload, folder).original_sha256 == tiny_workload.original_sha256
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert _at(tiny_workload, folder).original_sha256 != tiny_workload.original_sha256


def test_no_record_is_no_original(tiny_workload: FraudWorkload, folder: Path) -> None:
    (folder / RECORD).unlink()
    with pytest.raises(DataError, match=r"expected training\.json .* Train one with"):
        _at(tiny_workload, folder).original()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"surprise": 1}'])
def test_a_broken_record_is_named(tiny_workload: FraudWorkload, folder: Path, content: str) -> None:
    (folder / RECORD).write_text(content)
    with pytest.raises(DataError, match=r"training\.json is not a record of a trained original"):
        _at(tiny_workload, folder).original()


@pytest.mark.parametrize("damage", ["missing", "cut", "junk", "other sizes", "unknown size"])
def test_weights_that_do_not_fit_their_record_are_refused(
    tiny_workload: FraudWorkload, folder: Path, damage: str
) -> None:
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
        _at(tiny_workload, folder).original()


def test_a_record_of_another_head_is_refused(tiny_workload: FraudWorkload, folder: Path) -> None:
    record = json.loads((folder / RECORD).read_text())
    record["calibration"] = {"temperature": 1.0}
    (folder / RECORD).write_text(json.dumps(record))
    expected = r"calibration \['temperature'\], the head binary needs \['intercept', 'slope'\]"
    with pytest.raises(DataError, match=expected):
        _at(tiny_workload, folder).original()


def test_weights_may_come_alone(tiny_workload: FraudWorkload, tmp_path: Path) -> None:
    """Calibration and threshold are then as good as a training's: both are of validation rows."""
    alone = tmp_path / "elsewhere.safetensors"
    body = tiny_workload.original().body
    save_file(body.state_dict(), alone)
    with pytest.MonkeyPatch.context() as patch:
        sizes = {k: tiny_workload.original_record.architecture[k] for k in TINY_SIZES}
        patch.setattr(FraudWorkload, "original_sizes", sizes)
        workload = _at(tiny_workload, alone)
        scorer = workload.original()
        assert workload.shipped is None
        assert workload.decision_threshold == pytest.approx(
            tiny_workload.decision_threshold, abs=0.02
        )
    expected = tiny_workload.original_record.calibration
    for name, value in expected.items():
        assert float(scorer.get_buffer(name)) == pytest.approx(value, abs=0.05)


def test_an_interrupted_save_leaves_no_record(
    tiny_workload: FraudWorkload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    body = tiny_workload.original().body
    monkeypatch.setattr(original, "save", kill)
    with pytest.raises(KeyboardInterrupt):
        save_original(tmp_path / "new", body, tiny_workload.original_record)
    assert list((tmp_path / "new").iterdir()) == []
