"""Reads the model store's plain files: `model.json`, manifests, `samples.npz`, baselines.

Only what a load test and its report need is named here; other keys are passed over, but a schema
version other than 1 is refused. No pickled object is ever loaded.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import fsspec.core
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from loadtest.errors import OptionError, StoreReadError


class Stored(BaseModel):
    """Part of a stored document: frozen, keys that are not read here are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Tensor(Stored):
    """An input or output; its shape includes the batch dimension, -1 means variable."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Decision(Stored):
    output: str
    threshold: float


class Model(Stored):
    """`model.json`: what every variant has in common."""

    schema_version: Literal[1]
    name: str
    workload: str
    inputs: tuple[Tensor, ...]
    decision: Decision
    routing_key: str
    champion: str
    data: dict[str, Any] = {}


class Estimate(Stored):
    """A figure with its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class Machine(Stored):
    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    platform: str
    versions: dict[str, str] = {}


class RowLatency(Stored):
    """Model-only latency of one batch size, seconds per call."""

    rows: int
    calls: int
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float


class Latency(Stored):
    machine: Machine
    by_rows: tuple[RowLatency, ...]


class Quality(Stored):
    test: str
    rows: int
    positives: int
    metrics: dict[str, Estimate]
    ratios_to_original: dict[str, Estimate] = {}
    decision_agreement: float | None = None
    distinct_scores: int
    distinct_scores_original: int | None = None


class GateCheck(Stored):
    """One condition of the gate: `value` had to be at least `bound`."""

    name: str
    value: float
    bound: float
    passed: bool


class Gate(Stored):
    verdict: Literal["reference", "passed", "failed"]
    checks: tuple[GateCheck, ...] = ()


class ChainStep(Stored):
    technique: str
    options: dict[str, Any] = {}
    seconds: float


class Lineage(Stored):
    parent: str | None
    chain: tuple[ChainStep, ...]
    recipe_sha256: str
    content_sha256: str
    seed: int


class Runtime(Stored):
    engine: str
    precision: str
    integer_kernels: int = 0


class StoredFile(Stored):
    path: str
    bytes: int


class Manifest(Stored):
    """`variants/<name>/manifest.json`."""

    schema_version: Literal[1]
    model: str
    name: str
    family: str
    created_at: str
    runtime: Runtime
    files: tuple[StoredFile, ...]
    lineage: Lineage
    parameters: int
    flops_per_row: int | None
    decision_threshold: float
    quality: Quality
    gate: Gate
    latency: Latency
    probe_scores: tuple[float, ...]

    @property
    def bytes(self) -> int:
        """Size of all files of the variant, bytes."""
        return sum(file.bytes for file in self.files)

    def model_p50_seconds(self) -> float | None:
        """Median time of one row in the runner alone, seconds."""
        return next((r.p50_seconds for r in self.latency.by_rows if r.rows == 1), None)


class Baseline(Stored):
    name: str
    description: str
    parameters: int | None
    training_seconds: float
    quality: Quality


class Baselines(Stored):
    schema_version: Literal[1]
    profile: str
    notes: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...]


@dataclass(frozen=True)
class Samples:
    """Held-out requests: input name → array of n rows, and n routing keys."""

    inputs: Mapping[str, npt.NDArray[Any]]
    routing_keys: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.routing_keys)


_D = TypeVar("_D", bound=Stored)


class Store:
    """A model's folder in the store at `uri` (a path or any fsspec URI).

    Raises:
        StoreReadError: a file is missing, unreadable or of another schema version.
    """

    def __init__(self, uri: str, model: str) -> None:
        self.uri = uri
        self._fs, root = fsspec.core.url_to_fs(uri)
        self._root = f"{str(root).rstrip('/')}/{model}"
        self.model = self._document("model.json", Model)

    def manifests(self) -> dict[str, Manifest]:
        """Every published variant by name, the original first, then by falling size."""
        folder = f"{self._root}/variants"
        names = [str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._list(folder)]
        found = [
            self._document(f"variants/{name}/manifest.json", Manifest)
            for name in names
            if not name.startswith(".") and self._fs.exists(f"{folder}/{name}/manifest.json")
        ]
        if not found:
            raise StoreReadError(f"{folder} holds no variant: run the compression recipe first")
        found.sort(key=lambda m: (m.gate.verdict != "reference", -m.bytes, m.name))
        return {manifest.name: manifest for manifest in found}

    def baselines(self) -> Baselines | None:
        """The models the original is held against, or None where none were published."""
        if not self._fs.exists(f"{self._root}/baselines.json"):
            return None
        return self._document("baselines.json", Baselines)

    def samples(self) -> Samples:
        """The held-out rows; pickled objects are refused."""
        try:
            with np.load(io.BytesIO(self._read("samples.npz")), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            keys = arrays.pop("routing_key").astype(np.str_)
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise StoreReadError(f"{self._root}/samples.npz cannot be read: {error}") from error
        inputs = {n.removeprefix("input."): a for n, a in arrays.items() if n.startswith("input.")}
        missing = [t.name for t in self.model.inputs if t.name not in inputs]
        if missing or any(len(array) != len(keys) for array in inputs.values()) or not len(keys):
            raise StoreReadError(
                f"{self._root}/samples.npz does not hold equally many rows of every input "
                f"(missing: {', '.join(missing) or 'none'})"
            )
        return Samples(inputs, keys)

    def _list(self, folder: str) -> list[str]:
        try:
            return [str(path) for path in self._fs.ls(folder, detail=False)]
        except OSError as error:
            raise StoreReadError(f"{folder} cannot be listed: {error}") from error

    def _read(self, path: str) -> bytes:
        full = f"{self._root}/{path}"
        try:
            return bytes(self._fs.cat_file(full))
        except FileNotFoundError as error:
            raise StoreReadError(
                f"{full} is not there: check --store and --model, or run the recipe first"
            ) from error
        except OSError as error:
            raise StoreReadError(f"{full} cannot be read: {error}") from error

    def _document(self, path: str, kind: type[_D]) -> _D:
        try:
            return kind.model_validate_json(self._read(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StoreReadError(f"{self._root}/{path}: {where}: {first['msg']}") from error


def choose(manifests: Mapping[str, Manifest], names: list[str] | None) -> dict[str, Manifest]:
    """The manifests named, or all; the original is always among them and comes first.

    Raises:
        OptionError: a name is not in the store.
    """
    if not names:
        return dict(manifests)
    unknown = [name for name in names if name not in manifests]
    if unknown:
        raise OptionError(
            f"--variants: {', '.join(unknown)} not in the store; it has {', '.join(manifests)}"
        )
    return {n: m for n, m in manifests.items() if n in names or m.gate.verdict == "reference"}
