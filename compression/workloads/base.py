"""What a workload offers to recipes: data, architectures, and the original.

A workload is a set of labelled rows with inputs by name, windows of rows for training, choosing
and judging, and two architectures: the original's and a student's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from compression.heads import Head
from compression.models.scorer import Scorer
from compression.store.manifest import TensorSpec
from compression.training.rows import Inputs

Rows = npt.NDArray[np.int64]


class Workload(Protocol):
    """The fraud workload is one; anything with these members is another."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    routing_key: str
    """Request parameter that carries the key of `groups`, e.g. customer_id."""
    head: Head
    """What the model's output means."""
    labels: npt.NDArray[Any]
    """What the model is to say, one for each row, as the head defines it: bool[n] for binary."""
    groups: npt.NDArray[np.int32]
    """int32[n]: who a row belongs to; the unit of bootstrap and of sticky routing."""
    days: npt.NDArray[np.int32]
    """int32[n]: day of each row, since the first."""
    train: Rows
    validation: Rows
    test: Rows

    @property
    def data_sha256(self) -> str:
        """Hash of the data and of how it is split."""
        ...

    def gather(self, rows: Rows) -> Inputs:
        """Model inputs of rows int64[m], by name in the order of `inputs`."""
        ...

    def routing_keys(self, rows: Rows) -> npt.NDArray[np.str_]:
        """Keys of rows as clients send them, unicode[m]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Source, windows, seed and counts, for documents and reports."""
        ...

    @property
    def original_sha256(self) -> str:
        """Hash of the original's weights."""
        ...

    @property
    def shipped(self) -> Path:
        """Folder that may hold teacher logits computed when the original was trained."""
        ...

    def original(self) -> Scorer:
        """The trained original, in eval mode, and its decision threshold."""
        ...

    @property
    def decision_threshold(self) -> float:
        """The original's threshold, chosen on validation rows."""
        ...

    def student(self, options: dict[str, Any]) -> nn.Module:
        """An untrained student, standardisation fitted: inputs → logits float32[n]."""
        ...

    def baseline_scores(self, rows: Rows, seed: int) -> npt.NDArray[np.float32]:
        """Scores float32[m] of a cheap classic model (the honest baseline), trained on `train`."""
        ...
