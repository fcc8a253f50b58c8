from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compression.errors import TrainingError
from compression.training.loop import TrainingLog, learning_rate_share, weights
from tests.compression.training.toy import CONFIG, Toy, toy_rows, toy_trainer


class Interrupted(BaseException):
    """What Ctrl-C would raise."""


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def _without_seconds(log: TrainingLog) -> list[dict[str, float]]:
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in log.epochs]


def test_training_learns() -> None:
    trainer = toy_trainer()
    log = trainer.fit()
    losses = [epoch["loss"] for epoch in log.epochs]
    assert losses[-1] < 0.7 * losses[0]
    assert not trainer.model.training, "left in eval mode"


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    one, two, other = toy_trainer(), toy_trainer(), toy_trainer(replace(CONFIG, seed=6))
    logs = [trainer.fit() for trainer in (one, two, other)]
    _assert_same_bits(_weights(one.model), _weights(two.model))
    assert _without_seconds(logs[0]) == _without_seconds(logs[1])
    assert not torch.equal(_weights(one.model)["last.weight"], _weights(other.model)["last.weight"])


@pytest.mark.parametrize("steps_before", [1, 12, 13, 30])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path, steps_before: int
) -> None:
    """Wherever it is interrupted: in the first epoch, at an epoch's end, in a later one."""
    unbroken = toy_trainer()
    expected = unbroken.fit()
    path = tmp_path / "work" / "toy.safetensors"

    def interrupt(done: int, steps: int, loss: float) -> None:
        if done == steps_before:
            raise Interrupted

    with pytest.raises(Interrupted):
        toy_trainer(path=path, report=interrupt).fit()
    torch.manual_seed(12345)  # what else drew random numbers meanwhile does not matter
    resumed = toy_trainer(path=path)
    log = resumed.fit()
    _assert_same_bits(_weights(resumed.model), _weights(unbroken.model))
    assert _without_seconds(log) == _without_seconds(expected)
    assert (log.best_epoch, log.rows_seen) == (expected.best_epoch, expected.rows_seen)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    first = toy_trainer(path=path)
    log = first.fit()
    steps: list[int] = []
    again = toy_trainer(path=path, report=lambda done, steps_, loss: steps.append(done))
    assert again.fit() == log
    assert steps == []
    _assert_same_bits(_weights(again.model), _weights(first.model))


def test_the_best_epoch_by_validation_is_kept() -> None:
    seen: list[dict[str, Tensor]] = []
    quality = [0.3, 0.9, 0.5, 0.2]

    def evaluate(model: nn.Module) -> float:
        seen.append(_weights(model))
        return quality[len(seen) - 1]

    trainer = toy_trainer(evaluate=evaluate)
    log = trainer.fit()
    assert log.best_epoch == 1
    assert [epoch["validation"] for epoch in log.epochs] == quality
    _assert_same_bits(_weights(trainer.model), seen[1])


def test_without_validation_the_last_epoch_is_kept() -> None:
    assert toy_trainer().fit().best_epoch == CONFIG.epochs - 1


def test_validation_sees_averaged_weights_in_eval_mode_and_training_goes_on_with_its_own() -> None:
    modes: list[bool] = []

    def evaluate(model: nn.Module) -> float:
        modes.append(model.training)
        return float(len(modes))

    judged, unjudged = toy_trainer(evaluate=evaluate), toy_trainer()
    losses = [trainer.fit().epochs[-1]["loss"] for trainer in (judged, unjudged)]
    assert modes == [False] * CONFIG.epochs
    assert losses[0] == losses[1]


def test_no_averaging_keeps_the_weights_themselves() -> None:
    trainer = toy_trainer(replace(CONFIG, average_decay=0.0))
    final: dict[str, Tensor] = {}

    def last(done: int, steps: int, loss: float) -> None:
        final.update(_weights(trainer.model))

    trainer._report = last
    trainer.fit()
    _assert_same_bits(_weights(trainer.model), final)


def test_a_loss_that_is_not_finite_ends_training_and_says_what_to_do() -> None:
    with pytest.raises(
        TrainingError, match=r"loss is nan at step 1: lower learning_rate \(0\.05\)"
    ):
        toy_trainer(rows=toy_rows(bad=True)).fit()


def test_an_epoch_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"fewer than one batch of 512.*smaller batch_rows"):
        toy_trainer(replace(CONFIG, batch_rows=512))


def test_progress_counts_every_step_of_all_epochs() -> None:
    reports: list[tuple[int, int]] = []
    trainer = toy_trainer(report=lambda done, steps, loss: reports.append((done, steps)))
    log = trainer.fit()
    per_epoch = log.rows_seen // CONFIG.batch_rows // CONFIG.epochs
    total = per_epoch * CONFIG.epochs
    assert reports == [(step, total) for step in range(1, total + 1)]


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    shares = [learning_rate_share(step, 200, 0.1) for step in range(200)]
    assert shares[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert shares[20] == 1.0
    assert shares[110] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(shares[20:]))
    assert 0 < shares[-1] < 0.001
    assert learning_rate_share(200, 200, 0.1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup_share", [0.0, 0.5, 1.0])
def test_the_learning_rate_of_a_single_step_is_positive(warmup_share: float) -> None:
    assert 0 < learning_rate_share(0, 1, warmup_share) <= 1


def test_the_optimiser_follows_the_schedule() -> None:
    trainer, rates = toy_trainer(), []

    def note(done: int, steps: int, loss: float) -> None:
        share = learning_rate_share(done - 1, steps, CONFIG.warmup_share)
        rates.append((trainer._optimiser.param_groups[0]["lr"], CONFIG.learning_rate * share))

    trainer._report = note
    trainer.fit()
    assert all(math.isclose(given, wanted) for given, wanted in rates)
    assert len({given for given, _ in rates}) > 10


def test_other_weights_for_a_while() -> None:
    model = Toy()
    own, zeros = _weights(model), {k: torch.zeros_like(v) for k, v in _weights(model).items()}

    def fail_with_zeros() -> None:
        with weights(model, zeros):
            _assert_same_bits(_weights(model), zeros)
            raise Interrupted

    with pytest.raises(Interrupted):
        fail_with_zeros()
    _assert_same_bits(_weights(model), own)
