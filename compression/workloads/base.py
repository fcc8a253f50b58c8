"""The workload protocol: what a model, its data and its original must offer to recipes.

A workload is labelled rows with named inputs, a head that says what the model's output means,
three windows of rows (to train, to choose, to judge), a trained original and the architecture of
a student. n is the number of all rows; m of those asked for. Derive from `Workload` to get what
has a default here; `TrainableWorkload` in `compression.workloads.original` adds an original that
is trained and kept by slimserve, `TableWorkload` in `compression.workloads.table` all of the rest
for rows in a CSV or Parquet file.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from torch import nn

from compression.heads import Head
from compression.models.scorer import Scorer
from compression.store.manifest import TensorSpec
from compression.training.rows import Inputs
from compression.workloads.boosting import Boosting

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

WINDOWS = ("train", "validation", "test")


class Workload(Protocol):
    """Built from an instance of its `settings_type`: `MyWorkload(settings)`."""

    settings_type: ClassVar[type[BaseModel]]
    """What a recipe may say under `workload`; must forbid unknown keys."""
    student_type: ClassVar[type[BaseModel]]
    """Options of a student, e.g. its width; must forbid unknown keys."""
    student_sizes: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Options of students that a search tries where a recipe names none, small ones first."""
    name: str
    """In documents and messages."""

    inputs: tuple[TensorSpec, ...]
    """FP32 each, batch first: shape (-1, …); in the order of the model's arguments. `features`
    names the places of the last dimension, where they have names: callers may then send them by
    name."""
    outputs: tuple[TensorSpec, ...]
    """One, FP32, batch first: what the head publishes."""
    head: Head
    """What the model's output means: see `compression.heads`."""
    routing_key: str = "key"
    """Request parameter that carries a row's routing key, e.g. customer_id."""

    baseline_name: ClassVar[str] = "gradient-boosting"
    """The cheap classic model that the original is held against."""
    baseline_description: ClassVar[str] = "gradient boosting on the same inputs, flattened"
    source_sha256: str | None = None
    """Hash of the user's file that the class stands in; set when it is opened."""

    labels: npt.NDArray[Any]
    """[n]: what the model is to say, as the head defines it: bool for binary, int for classes
    from 0 and identities, float for numbers."""
    groups: npt.NDArray[np.int32]
    """int32[n]: whom a row belongs to; the unit of the bootstrap and of sticky routing."""
    days: npt.NDArray[np.int32]
    """int32[n]: day of each row, since the first."""
    train: Rows
    """int64[·], rising; the windows share no row."""
    validation: Rows
    test: Rows

    @property
    @abstractmethod
    def data_sha256(self) -> str:
        """Hash of rows, labels and windows, 64 hex digits: what was made of other data is stale."""
        ...

    @abstractmethod
    def gather(self, rows: Rows) -> Inputs:
        """Inputs of rows int64[m]: name → float32[m, …], in the order of `inputs`."""
        ...

    @property
    @abstractmethod
    def original_sha256(self) -> str:
        """Hash of the original's weights, 64 hex digits."""
        ...

    @abstractmethod
    def original(self) -> Scorer:
        """The trained original with its finishing layer (`head.scorer`), in eval mode."""
        ...

    @property
    @abstractmethod
    def decision_threshold(self) -> float:
        """An output of the original of at least this is a yes; chosen on validation rows."""
        ...

    @abstractmethod
    def student(self, options: dict[str, Any]) -> nn.Module:
        """An untrained student: inputs → raw outputs, as the head defines them.

        options: those of `student_type`, and `seed`, which decides its weights.
        """
        ...

    @property
    def unlabelled(self) -> Rows:
        """Rows int64[·], rising, that are known when the training is, but not their labels.

        Here: those of the days between the training window and the next one, for which the first
        judges wait.
        """
        trained, judged = self.days[self.train].max(), self.days[self.validation].min()
        return np.flatnonzero((self.days > trained) & (self.days < judged))

    @property
    def shipped(self) -> Path | None:
        """Folder that may hold the original's outputs, computed when it was trained."""
        return None

    def routing_keys(self, rows: Rows) -> npt.NDArray[np.str_]:
        """Routing keys of rows int64[m] as clients send them, unicode[m]."""
        return self.groups[rows].astype(np.str_)

    def describe(self) -> dict[str, Any]:
        """Source, windows, seed and counts, as JSON values, for documents and reports."""
        counts = {name: len(getattr(self, name)) for name in WINDOWS}
        return {"rows": len(self.labels), "windows": counts, "data_sha256": self.data_sha256}

    def baseline_outputs(self, rows: Rows, seed: int) -> Floats:
        """What the baseline, trained on `train`, publishes for rows int64[m]: float32[m, …]."""
        model = Boosting(self.head, self.gather).fit(self.train, self.labels[self.train], seed)
        return model.outputs(rows)
