"""Train the fraud workload's original: once, resumable, epochs chosen on validation rows."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compression.console import Advance, bar, console
from compression.machine import this_machine
from compression.models.transformer import TransactionTransformer
from compression.quality.calibration import best_f1_threshold, fit_platt
from compression.quality.metrics import average_precision
from compression.quality.sampling import Sample
from compression.recipe import load_recipe
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions
from compression.training.loop import Evaluate, TrainConfig, Trainer, TrainingLog
from compression.training.objectives import HardLabels
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows
from compression.training.scoring import outputs_of
from compression.workloads.fraud.artifact import OriginalRecord, save_original
from compression.workloads.fraud.config import FraudConfig
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.windows import WeightedRows

ORIGINAL_SIZES = {"width": 256, "layers": 4, "heads": 8, "feed_forward": 1024, "dropout": 0.1}
ORIGINAL_TRAINING = TrainConfig(
    epochs=12,
    batch_rows=256,
    learning_rate=6e-4,
    negatives_per_positive=6,
    average_decay=0.998,
    bfloat16=True,
)
CHOOSING_NEGATIVES = 12_000
"""Validation negatives scored after each epoch, weighted up to all of them."""


def choosing_sample(workload: FraudWorkload, seed: int) -> Sample:
    """All validation frauds and a weighted draw of the other rows."""
    labels = workload.labels[workload.validation]
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    wanted = min(len(negatives), CHOOSING_NEGATIVES)
    drawn = np.random.default_rng(seed).choice(negatives, wanted, replace=False)
    index = np.concatenate((positives, np.sort(drawn)))
    weights = np.where(labels[index], 1.0, len(negatives) / wanted)
    return Sample(index, weights)


def train_original(
    workload: FraudWorkload, folder: Path, work: Path, config: TrainConfig
) -> OriginalRecord:
    """Train, recalibrate and save the original into `folder`; checkpoints go to `work`."""
    model = workload.transformer(ORIGINAL_SIZES, config.seed)
    sample = choosing_sample(workload, config.seed)
    rows = workload.validation[sample.index]
    labels = workload.labels[rows]

    def evaluate(candidate: nn.Module) -> float:
        logits = outputs_of(candidate, workload.gather, rows, bfloat16=config.bfloat16)
        quality = average_precision(labels, logits, sample.weights)
        console.print(f"validation average precision {quality:.4f}")
        return quality

    with bar("training the original") as advance:
        log = _fit(workload, model, config, evaluate, work, advance)
    with bar("recalibrating") as advance:
        logits = outputs_of(model, workload.gather, rows, report=advance)
    record = _record(workload, config, log, logits, labels, sample.weights, model)
    save_original(folder, model, record)
    return record


def _fit(
    workload: FraudWorkload,
    model: nn.Module,
    config: TrainConfig,
    evaluate: Evaluate,
    work: Path,
    advance: Advance,
) -> TrainingLog:
    train = workload.train
    labels, head = workload.labels[train], workload.head
    pool = TrainingRows(
        lambda positions: workload.gather(train[positions]), head.targets(labels), head.rare(labels)
    )
    return Trainer(
        model,
        pool,
        HardLabels(head),
        config,
        evaluate=evaluate,
        report=lambda done, steps, loss: advance(done, steps),
        checkpoint_path=work / "original.checkpoint.safetensors",
        run={"data": workload.data_sha256, "sizes": ORIGINAL_SIZES},
    ).fit()


def _record(
    workload: FraudWorkload,
    config: TrainConfig,
    log: TrainingLog,
    logits: npt.NDArray[np.float32],
    labels: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    model: TransactionTransformer,
) -> OriginalRecord:
    slope, intercept = fit_platt(labels, logits, weights)
    scores = 1 / (1 + np.exp(-(logits * slope + intercept)))
    return OriginalRecord(
        architecture=model.config.to_dict(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        calibration_slope=slope,
        calibration_intercept=intercept,
        decision_threshold=best_f1_threshold(labels, scores, weights),
        validation_average_precision=average_precision(labels, logits, weights),
        best_epoch=log.best_epoch,
        epochs=log.epochs,
        training={**asdict(config), "seconds": log.seconds, "rows_seen": log.rows_seen},
        seed=config.seed,
        data=workload.describe(),
        data_sha256=workload.data_sha256,
        machine=this_machine(torch.get_num_threads()).model_dump(),
    )


def train_original_command(
    recipe: Path | None, out: Path | None, work: Path, epochs: int | None
) -> None:
    """`python -m compression original`: train, save, and score the distillation pool."""
    settings = {"name": "fraud"} if recipe is None else load_recipe(recipe).workload
    config = FraudConfig.model_validate(settings)
    folder = out or config.original
    workload = FraudWorkload(config.model_copy(update={"original": folder}))
    training = ORIGINAL_TRAINING if epochs is None else replace(ORIGINAL_TRAINING, epochs=epochs)
    record = train_original(workload, folder, work, training)
    console.print(
        f"original saved in {folder}: {record.parameters:,} parameters, epoch {record.best_epoch}, "
        f"validation average precision {record.validation_average_precision:.4f}"
    )
    score_pool(workload, folder, training.seed)


def score_pool(workload: FraudWorkload, folder: Path, seed: int) -> None:
    """Teacher logits of the default distillation pool, kept beside the original.

    They are what `distill` would compute first; a demo of minutes has no time for it.
    """
    for stale in folder.glob("teacher-*.npz"):
        stale.unlink()
    rows = training_pool(workload, TrainOptions().pool_negatives, seed)
    validation = WeightedRows(workload.validation[:0], np.empty(0))
    with bar("scoring the distillation pool") as advance:
        Context(workload, seed, folder, validation).teacher_outputs(rows, advance)
