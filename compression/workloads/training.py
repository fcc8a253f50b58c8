"""Train a workload's original: once, resumable, epochs chosen on validation rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compression.console import Advance, bar, console
from compression.errors import RecipeError
from compression.machine import this_machine
from compression.quality.metrics import average_precision
from compression.recipe import load_recipe
from compression.techniques.candidate import parameter_count
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions
from compression.training.loop import Evaluate, TrainConfig, Trainer, TrainingLog
from compression.training.objectives import HardLabels
from compression.training.pool import training_pool
from compression.training.rows import TrainingRows
from compression.training.scoring import outputs_of
from compression.workloads import find_workload
from compression.workloads.original import (
    OriginalRecord,
    TrainableWorkload,
    finish,
    save_original,
)
from compression.workloads.windows import WeightedRows, all_or_drawn

CHOOSING_NEGATIVES = 12_000
"""Validation negatives scored after each epoch, weighted up to all of them."""


def train_original(
    workload: TrainableWorkload, folder: Path, work: Path, config: TrainConfig
) -> OriginalRecord:
    """Train, calibrate and save the original into `folder`; checkpoints go to `work`."""
    torch.manual_seed(config.seed)
    body = workload.original_body(workload.architecture)
    workload.fit_inputs(body, config.seed)
    rows = all_or_drawn(workload, workload.validation, CHOOSING_NEGATIVES, config.seed)
    with bar("training the original") as advance:
        log = _fit(workload, body, config, _chooser(workload, rows, config), work, advance)
    with bar("calibrating") as advance:
        raw = outputs_of(body, workload.gather, rows.rows, report=advance)
    found = finish(workload, body, raw, rows)
    record = OriginalRecord(
        architecture=workload.architecture,
        parameters=parameter_count(body),
        calibration=found.calibration,
        decision_threshold=found.decision_threshold,
        validation_average_precision=found.average_precision,
        best_epoch=log.best_epoch,
        epochs=log.epochs,
        training={**asdict(config), "seconds": log.seconds, "rows_seen": log.rows_seen},
        seed=config.seed,
        data=workload.describe(),
        data_sha256=workload.data_sha256,
        machine=this_machine(torch.get_num_threads()).model_dump(),
    )
    save_original(folder, body, record)
    return record


def _chooser(workload: TrainableWorkload, rows: WeightedRows, config: TrainConfig) -> Evaluate:
    """Average precision of a model on validation rows: which epoch is the best."""
    head, labels = workload.head, workload.labels[rows.rows]

    def evaluate(candidate: nn.Module) -> float:
        raw = outputs_of(candidate, workload.gather, rows.rows, bfloat16=config.bfloat16)
        with torch.inference_mode():
            outputs = head.scorer(candidate).finish(torch.from_numpy(raw)).numpy()
        trials = head.trials(outputs, labels)
        quality = average_precision(trials.labels, trials.scores, rows.weights[trials.rows])
        console.print(f"validation average precision {quality:.4f}")
        return quality

    return evaluate


def _fit(
    workload: TrainableWorkload,
    body: nn.Module,
    config: TrainConfig,
    evaluate: Evaluate,
    work: Path,
    advance: Advance,
) -> TrainingLog:
    train = workload.train
    labels, head = workload.labels[train], workload.head
    run = {"data": workload.data_sha256, "sizes": workload.architecture}
    # Named by all it depends on: a training of other data or settings begins anew.
    key = hashlib.sha256(json.dumps([run, asdict(config)], sort_keys=True).encode()).hexdigest()
    pool = TrainingRows(
        lambda positions: workload.gather(train[positions]), head.targets(labels), head.rare(labels)
    )
    return Trainer(
        body,
        pool,
        HardLabels(head),
        config,
        evaluate=evaluate,
        report=lambda done, steps, loss: advance(done, steps),
        checkpoint_path=work / f"{workload.name}-{key[:16]}.checkpoint.safetensors",
        run=run,
    ).fit()


def train_original_command(
    recipe: Path | None, out: Path | None, work: Path, epochs: int | None
) -> None:
    """`python -m compression original`: train, save, and score the distillation pool."""
    settings = {"name": "fraud"} if recipe is None else load_recipe(recipe).workload
    source = Path("recipe" if recipe is None else recipe)
    workload = find_workload(settings, str(source)).open()
    if not isinstance(workload, TrainableWorkload):
        raise RecipeError(
            f"{source}: the workload {workload.name} does not say how to train its original: "
            "derive it from compression.workloads.original.TrainableWorkload"
        )
    workload.original_path = out or workload.original_path
    if workload.came_alone:
        raise RecipeError(
            f"{source}: the original is {workload.original_path}, trained elsewhere: to train one "
            "here, name a folder as workload.original, or give one by --out"
        )
    config = workload.original_training
    config = config if epochs is None else replace(config, epochs=epochs)
    for name in ("train", "validation"):
        workload.head.check(workload.labels[getattr(workload, name)], name)
    folder = workload.original_path
    record = train_original(workload, folder, work, config)
    console.print(
        f"original saved in {folder}: {record.parameters:,} parameters, epoch {record.best_epoch}, "
        f"validation average precision {record.validation_average_precision:.4f}"
    )
    score_pool(workload, folder, config.seed)


def score_pool(workload: TrainableWorkload, folder: Path, seed: int) -> None:
    """Outputs of the original for the default distillation pool, kept beside it.

    They are what `distill` would compute first; a demo of minutes has no time for it.
    """
    for stale in folder.glob("teacher-*.npz"):
        stale.unlink()
    rows = training_pool(workload, TrainOptions().pool_negatives, seed)
    validation = WeightedRows(workload.validation[:0], np.empty(0))
    with bar("scoring the distillation pool") as advance:
        Context(workload, seed, folder, validation).teacher_outputs(rows, advance)
