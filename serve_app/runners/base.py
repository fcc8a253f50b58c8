"""What a runner is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
"""Tensors by name, batch first."""


class Runner(Protocol):
    """Computes outputs from inputs; may be called from several threads at once."""

    platform: str
    """As the Open Inference Protocol's model metadata names it."""

    parallel: bool
    """Whether two calls at once are computed side by side; on a GPU they take turns."""

    @property
    def detail(self) -> str:
        """What it runs on, for logs and metadata: execution providers, threads."""
        ...

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Outputs by name for a batch.

        Shapes and dtypes are those of `model.json`; the first dimension is the same everywhere.
        Whatever the runtime raises comes through.
        """
        ...

    def warm_up(self, batch_of: Callable[[int], Arrays], rows: int) -> bool:
        """Make ready for batches of up to `rows` rows, so that no caller pays for it.

        `batch_of(n)` is a batch of n rows such as callers send. True: batches are computed in
        another way from now on.
        """
        ...
