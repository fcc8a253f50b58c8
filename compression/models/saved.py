"""A module on disk: one safetensors file of its weights, whose metadata is its structure."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from compression.files import write_whole
from compression.models.resize import resize_to, structure_of

STRUCTURE = "structure"


def save_module(module: nn.Module, path: Path) -> None:
    """Write aside and rename: a file with that name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Cloned, since the format refuses tensors that share memory, as tied weights do.
    state = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    write_whole(path, save(state, {STRUCTURE: json.dumps(structure_of(module))}))


def load_module(module: nn.Module, path: Path) -> None:
    """Give `module`, built by its architecture, the structure and the weights of the file."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    resize_to(module, state, json.loads(metadata[STRUCTURE]))
    module.load_state_dict(state)
