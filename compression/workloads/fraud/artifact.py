"""The trained original on disk: `model.safetensors` and `training.json` in one folder.

Weights without pickle, and beside them everything that says where they come from.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from compression.errors import DataError
from compression.models.scorer import CalibratedScorer, Scorer
from compression.models.transformer import TransactionTransformer, TransformerConfig

WEIGHTS = "model.safetensors"
RECORD = "training.json"


class OriginalRecord(BaseModel):
    """`training.json`: architecture, calibration, threshold, and how the training went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, Any]
    parameters: int
    calibration_slope: float
    calibration_intercept: float
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


def save_original(folder: Path, model: TransactionTransformer, record: OriginalRecord) -> None:
    """Write both files; the record last, so that a folder with a record is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, record_file = folder / WEIGHTS, folder / RECORD
    aside = weights.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, aside)
    os.replace(aside, weights)
    aside = record_file.with_suffix(".partial")
    aside.write_text(record.model_dump_json(indent=2) + "\n")
    os.replace(aside, record_file)


def load_record(folder: Path) -> OriginalRecord:
    """Read `training.json`."""
    path = folder / RECORD
    try:
        return OriginalRecord.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise DataError(
            f"no trained original in {folder}: expected {RECORD} and {WEIGHTS}. "
            "Train one with: make original"
        ) from error
    except ValidationError as error:
        raise DataError(f"{path} is not a record of a trained original: {error}") from error


def load_original(folder: Path) -> Scorer:
    """The trained, recalibrated original in eval mode."""
    record = load_record(folder)
    try:
        body = TransactionTransformer(TransformerConfig(**record.architecture))
        body.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError, TypeError) as error:
        raise DataError(
            f"{folder / WEIGHTS} does not hold the weights that {RECORD} describes: {error}"
        ) from error
    scorer = CalibratedScorer(body, record.calibration_slope, record.calibration_intercept)
    return scorer.eval()


def weights_sha256(folder: Path) -> str:
    """Hash of the weights file."""
    try:
        return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"no trained original in {folder}: train one with: make original"
        ) from error
