"""Exports that are made once for the same weights: each takes seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from compression.graphs import export


def once(export: Callable[..., bytes]) -> Callable[..., bytes]:
    """The same weights give the file they gave before."""
    made: dict[str, bytes] = {}

    def remembered(module: torch.nn.Module, *arguments: Any) -> bytes:
        digest = hashlib.sha256(repr(module).encode())
        for value in module.state_dict().values():
            digest.update(value.numpy().tobytes())
        key = digest.hexdigest()
        if key not in made:
            made[key] = export(module, *arguments)
        return made[key]

    return remembered


@contextmanager
def exported_once() -> Iterator[None]:
    """Both exports, for as long as the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compression.techniques.context.to_onnx", once(export.to_onnx))
        patch.setattr("compression.artifacts.to_program", once(export.to_program))
        yield
