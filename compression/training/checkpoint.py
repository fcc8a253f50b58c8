"""Checkpoints without pickle: one safetensors file, whose metadata is JSON.

It holds weights, their running average, the best weights so far and the optimiser's moments, so
that an interrupted training goes on where it stopped. Written aside and renamed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from compression.errors import TrainingError
from compression.files import write_whole

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Where a training stands: epochs done, the log so far, and the best epoch's weights."""

    epochs_done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: Tensors = field(default_factory=dict)


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": value.detach().clone() for name, value in tensors.items()}


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, slots in state.items() for key, value in slots.items()}


def save(
    path: Path,
    run: dict[str, Any],
    model: nn.Module,
    average: Tensors,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write a checkpoint of the run described by `run` (plain JSON values)."""
    tensors = {
        **_prefixed("model", model.state_dict()),
        **_prefixed("average", average),
        **_prefixed("best", progress.best),
        **_prefixed("optimiser", _optimiser_tensors(optimiser)),
    }
    metadata = {
        "run": json.dumps(run, sort_keys=True),
        "epochs_done": str(progress.epochs_done),
        "history": json.dumps(progress.history),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_bytes(tensors, metadata))


def restore(
    path: Path,
    run: dict[str, Any],
    model: nn.Module,
    average: Tensors,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    """Load a checkpoint into model, average and optimiser.

    Raises:
        TrainingError: the file is no checkpoint, or one of a run with other settings or data.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"checkpoint {path} cannot be read: {error}; delete it to start again"
        ) from error
    if json.loads(metadata.get("run", "null")) != json.loads(json.dumps(run)):
        raise TrainingError(
            f"checkpoint {path} belongs to a run with other settings or data: "
            "delete it to start again, or restore the settings"
        )
    groups: dict[str, Tensors] = {"model": {}, "average": {}, "best": {}, "optimiser": {}}
    for key, value in stored.items():
        group, _, name = key.partition(".")
        groups[group][name] = value
    model.load_state_dict(groups["model"])
    average.update(groups["average"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in groups["optimiser"].items():
        index, _, slot = key.partition(".")
        state.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return Progress(int(metadata["epochs_done"]), json.loads(metadata["history"]), groups["best"])
