from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from compression.__main__ import main
from compression.quality.metrics import average_precision
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions
from compression.training.pool import training_pool
from compression.training.scoring import outputs_of
from compression.workloads import training
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.original import load_record
from compression.workloads.training import score_pool, train_original
from compression.workloads.windows import all_or_drawn
from tests.compression.conftest import TINY_SIZES, TINY_TRAINING


@pytest.fixture
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FraudWorkload, "original_sizes", TINY_SIZES)


def test_the_record_says_how_the_original_was_trained(tiny_workload: FraudWorkload) -> None:
    record = tiny_workload.original_record
    assert record.data_sha256 == tiny_workload.data_sha256
    assert record.training["learning_rate"] == TINY_TRAINING.learning_rate
    assert record.training["seconds"] > 0
    assert len(record.epochs) == TINY_TRAINING.epochs
    assert record.architecture["width"] == TINY_SIZES["width"]
    assert record.machine["threads"] == 1
    assert record.validation_average_precision > 0.4


def test_scores_are_calibrated_and_the_threshold_is_one_of_them(
    tiny_workload: FraudWorkload,
) -> None:
    rows = tiny_workload.validation
    scores = outputs_of(tiny_workload.original(), tiny_workload.gather, rows)
    share = tiny_workload.labels[rows].mean()
    assert scores.mean() == pytest.approx(share, rel=0.05)
    assert np.abs(scores - tiny_workload.decision_threshold).min() < 1e-5
    alerts = scores >= tiny_workload.decision_threshold
    assert tiny_workload.labels[rows][alerts].mean() > 2 * share


def test_epochs_are_chosen_on_all_frauds_and_drawn_others(
    untrained_workload: FraudWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def measured(labels: Any, scores: Any, weights: Any) -> float:
        asked.append(len(labels))
        assert weights.sum() == pytest.approx(len(untrained_workload.validation))
        return average_precision(labels, scores, weights)

    monkeypatch.setattr(FraudWorkload, "original_sizes", TINY_SIZES)
    monkeypatch.setattr(training, "CHOOSING_NEGATIVES", 500)
    monkeypatch.setattr(training, "average_precision", measured)
    config = replace(TINY_TRAINING, epochs=1)
    train_original(untrained_workload, tmp_path / "o", tmp_path / "work", config)
    frauds = untrained_workload.labels[untrained_workload.validation].sum()
    assert asked == [frauds + 500]


@pytest.mark.usefixtures("tiny_sizes")
def test_an_interrupted_training_goes_on_where_it_was(
    untrained_workload: FraudWorkload,
    tiny_original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And ends with the very file of an unbroken one."""
    evaluations = [0]

    def interrupt(*arguments: Any) -> float:
        evaluations[0] += 1
        if evaluations[0] == 2:
            raise KeyboardInterrupt
        return average_precision(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "average_precision", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_original(untrained_workload, tmp_path / "o", tmp_path / "work", TINY_TRAINING)
    assert not (tmp_path / "o").exists()
    train_original(untrained_workload, tmp_path / "o", tmp_path / "work", TINY_TRAINING)
    weights = "model.safetensors"
    assert (tmp_path / "o" / weights).read_bytes() == (tiny_original / weights).read_bytes()
    (checkpoint,) = (tmp_path / "work").iterdir()
    other = replace(TINY_TRAINING, epochs=1)
    train_original(untrained_workload, tmp_path / "o", tmp_path / "work", other)
    assert len(list((tmp_path / "work").iterdir())) == 2, "other settings are another training"
    assert checkpoint.exists()


def test_the_pool_s_teacher_logits_ship_beside_the_original(
    tiny_workload: FraudWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = TrainOptions(pool_negatives=100)
    monkeypatch.setattr(training, "TrainOptions", lambda: small)
    (tmp_path / "teacher-of-an-older-original.npz").write_bytes(b"")
    score_pool(tiny_workload, tmp_path, seed=0)
    (written,) = tmp_path.iterdir()

    class Shipped(FraudWorkload):
        """Its original lies where the logits were written."""

        @property
        def shipped(self) -> Path:
            return tmp_path

    workload = Shipped(tiny_workload.config)
    rows = all_or_drawn(workload, workload.validation, None, 0)
    context = Context(workload, 0, tmp_path / "work", rows)
    pool = training_pool(workload, 100, 0)
    logits, seconds = context.teacher_outputs(pool, lambda done, total: pytest.fail("computed"))
    assert written.name.startswith("teacher-")
    assert len(logits) == len(pool)
    assert seconds > 0


@pytest.mark.usefixtures("tiny_sizes")
def test_the_command_trains_where_it_is_told(
    tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FraudWorkload, "original_training", TINY_TRAINING)
    monkeypatch.setattr(training, "TrainOptions", lambda: TrainOptions(pool_negatives=100))
    document = {
        "version": 1, "model": "fraud", "workload": tiny_settings, "variants": {"original": {}},
    }  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(document))
    out = tmp_path / "out"
    arguments = ["--recipe", str(recipe), "--out", str(out), "--work", str(tmp_path / "work")]
    assert main(["original", *arguments, "--epochs", "1"]) == 0
    record = load_record(out)
    assert len(record.epochs) == 1
    assert len(list(out.glob("teacher-*.npz"))) == 1
