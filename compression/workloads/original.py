"""The trained original on disk: `model.safetensors` and `training.json` in one folder.

Weights without pickle, and beside them everything that says where they come from. Weights that
were trained elsewhere are a `.safetensors` file alone; calibration and threshold are then taken
from the validation rows.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from compression.errors import DataError
from compression.files import write_whole
from compression.heads import Head
from compression.models.scorer import Scorer
from compression.quality.calibration import best_f1_threshold
from compression.quality.metrics import average_precision
from compression.training.loop import TrainConfig
from compression.training.scoring import Floats, outputs_of
from compression.workloads.base import Workload
from compression.workloads.windows import WeightedRows

WEIGHTS = "model.safetensors"
RECORD = "training.json"
TRAIN_IT = "Train one with: python -m compression original --recipe RECIPE"


class OriginalRecord(BaseModel):
    """`training.json`: architecture, calibration, threshold, and how the training went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, Any]
    parameters: int
    calibration: dict[str, float]
    """Buffers of the finishing layer by name, e.g. slope and intercept."""
    decision_threshold: float
    """Best F1 on validation rows."""
    validation_average_precision: float
    best_epoch: int
    epochs: tuple[dict[str, float], ...]
    """One entry an epoch: epoch, loss, validation (average precision), seconds."""
    training: dict[str, Any]
    seed: int
    data: dict[str, Any]
    data_sha256: str
    machine: dict[str, Any]

    @property
    def finish(self) -> Finish:
        """What was fitted on validation rows."""
        return Finish(self.calibration, self.decision_threshold, self.validation_average_precision)


@dataclass(frozen=True)
class Finish:
    """What turns the raw outputs of an original into decisions."""

    calibration: dict[str, float]
    decision_threshold: float
    average_precision: float
    """On validation rows."""


def finish(workload: Workload, body: nn.Module, raw: Floats, rows: WeightedRows) -> Finish:
    """Calibrate on raw outputs float32[m, …] of validation rows, and choose the threshold."""
    head, labels = workload.head, workload.labels[rows.rows]
    scorer = head.scorer(body)
    head.calibrate(scorer, raw, labels, rows.weights)
    with torch.inference_mode():
        outputs = scorer.finish(torch.from_numpy(raw)).numpy()
    trials = head.trials(outputs, labels)
    weights = rows.weights[trials.rows]
    return Finish(
        {name: float(value) for name, value in scorer.named_buffers(recurse=False)},
        best_f1_threshold(trials.labels, trials.scores, weights),
        average_precision(trials.labels, trials.scores, weights),
    )


class TrainableWorkload(Workload):
    """A workload whose original is trained by `python -m compression original`, or brought along.

    It offers the original's architecture; all about its weights is here.
    """

    original_path: Path
    """Folder of a trained original, or a .safetensors file with the body's state dict."""
    original_training: TrainConfig
    """How `python -m compression original` trains."""

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Sizes of the original to be trained, as JSON values."""
        ...

    @abstractmethod
    def original_body(self, architecture: dict[str, Any]) -> nn.Module:
        """A network of such sizes, its weights still random: inputs → raw outputs."""
        ...

    def fit_inputs(self, body: nn.Module, seed: int) -> None:
        """Take constants from training rows before training, e.g. to standardise, in place."""

    @cached_property
    def original_record(self) -> OriginalRecord:
        """How the original was trained."""
        return load_record(self.original_path)

    @cached_property
    def original_sha256(self) -> str:
        """Hash of the original's weights file."""
        try:
            return hashlib.sha256(self._weights.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"no trained original: expected {self._weights}. {TRAIN_IT}") from error

    @property
    def shipped(self) -> Path | None:
        """The original's folder: it may hold its outputs, too."""
        return None if self.came_alone else self.original_path

    def original(self) -> Scorer:
        """The trained original."""
        alone = self.came_alone
        architecture = self.architecture if alone else self.original_record.architecture
        body = self._trained_body(architecture)
        return calibrated(self.head, body, self._finish.calibration)

    @property
    def decision_threshold(self) -> float:
        """The original's threshold."""
        return self._finish.decision_threshold

    @property
    def came_alone(self) -> bool:
        """Whether the original is weights without a record."""
        return self.original_path.suffix == ".safetensors"

    @property
    def _weights(self) -> Path:
        return self.original_path if self.came_alone else self.original_path / WEIGHTS

    @cached_property
    def _finish(self) -> Finish:
        if not self.came_alone:
            return self.original_record.finish
        body = self._trained_body(self.architecture)
        raw = outputs_of(body, self.gather, self.validation)
        everything = WeightedRows(self.validation, np.ones(len(self.validation)))
        return finish(self, body, raw, everything)

    def _trained_body(self, architecture: dict[str, Any]) -> nn.Module:
        try:
            body = self.original_body(architecture)
            body.load_state_dict(load_file(self._weights))
        except (OSError, SafetensorError, RuntimeError, TypeError) as error:
            described = f"the workload {self.name}" if self.came_alone else RECORD
            raise DataError(
                f"{self._weights} does not hold the weights that {described} describes: {error}"
            ) from error
        return body.eval()


def calibrated(head: Head, body: nn.Module, calibration: dict[str, float]) -> Scorer:
    """The body finished by the head, with a calibration from a record, in eval mode."""
    scorer = head.scorer(body)
    buffers = dict(scorer.named_buffers(recurse=False))
    if set(buffers) != set(calibration):
        raise DataError(
            f"{RECORD} has the calibration {sorted(calibration)}, the head {head.name} needs "
            f"{sorted(buffers)}: the original was trained for another head. {TRAIN_IT}"
        )
    for name, value in calibration.items():
        buffers[name].fill_(value)
    return scorer.eval()


def save_original(folder: Path, body: nn.Module, record: OriginalRecord) -> None:
    """Write both files; the record last, so that a folder with a record is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, record_file = folder / WEIGHTS, folder / RECORD
    write_whole(weights, save({k: v.contiguous() for k, v in body.state_dict().items()}))
    write_whole(record_file, (record.model_dump_json(indent=2) + "\n").encode())


def load_record(folder: Path) -> OriginalRecord:
    """Read `training.json`."""
    path = folder / RECORD
    try:
        return OriginalRecord.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise DataError(
            f"no trained original in {folder}: expected {RECORD} and {WEIGHTS}. {TRAIN_IT}"
        ) from error
    except ValidationError as error:
        raise DataError(f"{path} is not a record of a trained original: {error}") from error
