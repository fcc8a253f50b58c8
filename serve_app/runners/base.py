"""What a runner is, and what computes beside the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
"""Tensors by name, batch first."""


Run = Callable[[Mapping[str, npt.NDArray[Any]]], Arrays]


class Outcome(NamedTuple):
    """What became of a batch: outputs, or an error."""

    outputs: Arrays | None
    error: Exception | None
    started: float
    """When it was its turn, as `time.perf_counter` counts."""
    seconds: float
    """How long the model took, and what it takes to learn that it is done."""


Done = Callable[[Outcome], None]


class Aside(Protocol):
    """Computes batches beside their caller."""

    def begin(self, inputs: Arrays, done: Done) -> None:
        """Compute a batch; `done` is called once, from a thread that is nobody's.

        Raises:
            RuntimeError: it is closed.
        """
        ...

    def close(self) -> None:
        """Begin nothing any more."""
        ...


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

    def aside(self, artifact: bytes) -> Aside | None:
        """The runtime's own way to compute beside the event loop, of the artifact that was opened;
        None: it has none, and is to be called in threads."""
        ...

    def warm_up(self, batch_of: Callable[[int], Arrays], rows: int) -> bool:
        """Make ready for batches of up to `rows` rows, so that no caller pays for it.

        `batch_of(n)` is a batch of n rows such as callers send. True: batches are computed in
        another way from now on.
        """
        ...
