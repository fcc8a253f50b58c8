"""Finished rounds on disk, so that an interrupted technique goes on after the last of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from compression.files import write_whole
from compression.models.saved import load_module, save_module

_M = TypeVar("_M", bound=nn.Module)


class Rounds:
    """Rounds 1, 2, … of one technique in a folder: a module and a record (JSON values) of each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self) -> list[dict[str, Any]]:
        """Records of the finished rounds, the first one first."""
        found: list[dict[str, Any]] = []
        while (path := self._path(len(found) + 1, "json")).exists():
            found.append(json.loads(path.read_text(encoding="utf-8")))
        return found

    def save(self, number: int, module: nn.Module, record: dict[str, Any]) -> None:
        """Write a finished round, its record last: a round with a record is whole."""
        save_module(module, self._path(number, "safetensors"))
        write_whole(self._path(number, "json"), json.dumps(record).encode())

    def load(self, number: int, build: Callable[[], _M]) -> _M:
        """The module of a round that `records` tells of; `build` makes one of the architecture."""
        module = build()
        load_module(module, self._path(number, "safetensors"))
        return module

    def _path(self, number: int, suffix: str) -> Path:
        return self._folder / f"round-{number:02d}.{suffix}"


class _Unkept(Rounds):
    """Where there is no folder, nothing is kept and every run begins at the beginning."""

    def __init__(self) -> None:
        super().__init__(Path())

    def records(self) -> list[dict[str, Any]]:
        return []

    def save(self, number: int, module: nn.Module, record: dict[str, Any]) -> None:
        pass


def rounds_in(scratch: Path | None) -> Rounds:
    """The rounds of the step whose scratch folder it is."""
    return _Unkept() if scratch is None else Rounds(scratch / "rounds")
