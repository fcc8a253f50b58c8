"""A workload for anyone's table: a CSV or Parquet file, windows in time, a network of one's own.

    class Credit(TableWorkload):
        name = "credit"

        def build_original(self) -> nn.Module: ...
        def build_student(self, options: dict[str, Any]) -> nn.Module: ...

Both take features float32[n, f], standardised by the training window, to raw outputs of the head:
logits float32[n], logits float32[n, classes] or numbers float32[n]. The model that is served takes
the features as the file has them: the standardisation is a part of it.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from compression.errors import RecipeError
from compression.models.transformer import Standardise
from compression.store.manifest import TensorSpec, is_feature
from compression.training.loop import TrainConfig
from compression.training.rows import Inputs
from compression.workloads.base import WINDOWS, Rows
from compression.workloads.original import TrainableWorkload
from compression.workloads.tabular import TableConfig, read_table
from compression.workloads.timesplit import split_in_time

STANDARDISE_ROWS = 100_000
_OUTPUTS = {"binary": "score", "multiclass": "probabilities", "regression": "value"}


class NoOptions(BaseModel):
    """A student that comes in one size."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StandardisedNetwork(nn.Module):
    """A network behind the standardisation of its features."""

    def __init__(self, features: int, network: nn.Module) -> None:
        super().__init__()
        self.standardise = Standardise(features)
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """float32[n, f] → raw outputs."""
        raw: Tensor = self.network(self.standardise(features))
        return raw


class TableWorkload(TrainableWorkload):
    """Rows of a file. Derive from it: `name`, `build_original`, `build_student`."""

    settings_type: ClassVar[type[BaseModel]] = TableConfig
    student_type: ClassVar[type[BaseModel]] = NoOptions
    original_training = TrainConfig(epochs=20, learning_rate=1e-3, average_decay=0.99)

    def __init__(self, config: TableConfig) -> None:
        self.config = config
        self.original_path = config.original
        table = read_table(config)
        self.features, self._values = table.features, table.values
        read = table.labels
        self.labels, self.head, self.classes = read.values, read.head, read.names
        self._first_day, self.days = table.first_day, table.days
        self._group_ids, self.groups = table.group_ids, table.groups
        self.routing_key = config.group or "row"
        self.train, self.validation, self.test = split_in_time(self.days, config.split)
        self.inputs = (
            TensorSpec(
                name="features",
                datatype="FP32",
                shape=(-1, len(self.features)),
                features=self.features,
            ),
        )
        self.outputs = (
            TensorSpec(
                name=_OUTPUTS[self.head.name],
                datatype="FP32",
                shape=(-1, *self._one),
                features=self._places,
            ),
        )

    @abstractmethod
    def build_original(self) -> nn.Module:
        """The original's network, untrained: float32[n, f] → raw outputs of the head."""
        ...

    @abstractmethod
    def build_student(self, options: dict[str, Any]) -> nn.Module:
        """A student's network, untrained; options: all of `student_type`, checked."""
        ...

    @cached_property
    def data_sha256(self) -> str:
        """Hash of features, labels, groups and windows."""
        digest = hashlib.sha256(repr((self.features, self.classes, self.head.name)).encode())
        windows = (getattr(self, name) for name in WINDOWS)
        for array in (self._values, self.labels, self.groups, self.days, *windows):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def gather(self, rows: Rows) -> Inputs:
        """features float32[m, f], as the file has them."""
        return {"features": self._values[rows]}

    def routing_keys(self, rows: Rows) -> npt.NDArray[np.str_]:
        """The groups' own ids, or row numbers, unicode[m]."""
        ids = self.groups if self._group_ids is None else self._group_ids[self.groups]
        return ids[rows].astype(np.str_)

    def describe(self) -> dict[str, Any]:
        """File, columns, windows."""
        windows = {name: self._window(getattr(self, name)) for name in WINDOWS}
        return {
            "file": self.config.data.name,
            "rows": len(self.labels),
            "features": list(self.features),
            "label": self.config.label,
            "head": self.head.name,
            "classes": list(self.classes),
            "split": self.config.split.model_dump(),
            "windows": windows,
            "data_sha256": self.data_sha256,
        }

    def _window(self, rows: Rows) -> dict[str, Any]:
        first, last = int(self.days[rows].min()), int(self.days[rows].max())
        labels = self.labels[rows]
        told: dict[str, Any] = {"rows": len(rows), "first_day": first, "last_day": last}
        if self._first_day is not None:
            told |= {"from": str(self._first_day + first), "to": str(self._first_day + last)}
        if self.head.name == "binary":
            told["positives"] = int(labels.sum())
        return told

    @property
    def architecture(self) -> dict[str, Any]:
        """What the original was built for; its sizes stand in the class."""
        return {"features": list(self.features), "outputs": [*self._one]}

    def original_body(self, architecture: dict[str, Any]) -> nn.Module:
        """The original's network behind its standardisation; without, where weights came alone."""
        if architecture != self.architecture:
            raise RecipeError(
                f"the original in {self.original_path} was trained for {architecture}; the recipe "
                f"gives {self.architecture}: use these, or train another original"
            )
        network = self._checked(self.build_original(), "build_original()")
        return network if self.came_alone else StandardisedNetwork(len(self.features), network)

    def fit_inputs(self, body: nn.Module, seed: int) -> None:
        """Fit the standardisation on `train`."""
        if isinstance(body, StandardisedNetwork):
            generator = np.random.default_rng(seed)
            wanted = min(STANDARDISE_ROWS, len(self.train))
            rows = generator.choice(self.train, wanted, replace=False)
            body.standardise.fit(torch.from_numpy(self._values[rows]))

    def student(self, options: dict[str, Any]) -> nn.Module:
        """The student's network behind a standardisation; options: see `build_student`, a seed."""
        given = {**options}
        seed = int(given.pop("seed", 0))
        torch.manual_seed(seed)
        sizes = self.student_type.model_validate(given).model_dump()
        network = self._checked(self.build_student(sizes), "build_student()")
        body = StandardisedNetwork(len(self.features), network)
        self.fit_inputs(body, seed)
        return body

    @property
    def _one(self) -> tuple[int, ...]:
        """Shape of one row's outputs."""
        return (len(self.classes),) if self.head.name == "multiclass" else ()

    @property
    def _places(self) -> tuple[str, ...] | None:
        """The classes, where a row's outputs are several and all of them can be named so."""
        return self.classes if self._one and all(map(is_feature, self.classes)) else None

    def _checked(self, network: nn.Module, built_by: str) -> nn.Module:
        """Refuse a network that does not take these features, or gives other shapes."""
        example = torch.from_numpy(self._values[self.train[:3]])
        training = network.training
        try:
            with torch.no_grad():
                shape = tuple(network.eval()(example).shape)
        except RuntimeError as error:
            raise RecipeError(
                f"{type(self).__name__}.{built_by} does not take {len(self.features)} features "
                f"float32[n, {len(self.features)}]: {error}"
            ) from error
        if shape != (3, *self._one):
            raise RecipeError(
                f"{type(self).__name__}.{built_by} must give {self._raw()}; of 3 rows it makes "
                f"{list(shape)}"
            )
        return network.train(training)

    def _raw(self) -> str:
        return f"float32{['n', *self._one]}, as the head {self.head.name} wants it".replace("'", "")
