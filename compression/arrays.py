"""Arrays cached on disk: whole or not there, without pickle."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compression.store.filesystem import naming


def save_arrays(path: Path, **arrays: npt.ArrayLike) -> None:
    """Write an .npz aside and rename it: an interruption leaves nothing that is half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with naming(path):
            with aside.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """What `save_arrays` wrote, by name; None if it is not there."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
