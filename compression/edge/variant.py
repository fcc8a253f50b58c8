"""The variant to export: verified, runnable as a graph, and with rows to run it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from compression.errors import ExportError
from compression.graphs.session import open_session
from compression.store import Decision, Manifest, ModelDocument, ModelStore, TensorSpec
from compression.store.samples import Samples

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class EdgeVariant:
    """A published ONNX variant with the first of its model's samples, one row each."""

    document: ModelDocument
    manifest: Manifest
    manifest_sha256: str
    artifact: bytes
    inputs: tuple[TensorSpec, ...]
    """Those of the model's inputs that the graph takes."""
    rows: Sequence[Arrays]

    @classmethod
    def load(cls, store: ModelStore, model: str, variant: str, samples: int) -> EdgeVariant:
        """Read a variant and up to `samples` rows.

        Raises:
            StoreError: it is not there, or not what it was.
            ExportError: it is no graph, or its graph does not fit the model's document.
        """
        document = store.model(model)
        manifest, digest, artifact = _read(store, model, variant)
        inputs = _taken(artifact, document)
        rows = list(_rows(store.samples(model), inputs, samples))
        return cls(document, manifest, digest, artifact, inputs, rows)

    @property
    def decision(self) -> Decision:
        """The model's decision, with this variant's threshold."""
        return Decision(
            output=self.document.decision.output, threshold=self.manifest.decision_threshold
        )

    def answers(self, model: bytes) -> list[Arrays]:
        """Outputs by name of `model` for each row on its own, as a server answers one row."""
        session, names = open_session(model), [spec.name for spec in self.document.outputs]
        return [dict(zip(names, session.run(names, row), strict=True)) for row in self.rows]

    def require_gate(self, *, allow_failed: bool) -> None:
        """Raises ExportError where the gate failed and that is not allowed."""
        gate = self.manifest.gate
        if gate.verdict != "failed" or allow_failed:
            return
        failed = "; ".join(
            f"{check.name} is {check.value:.4f}, at least {check.bound:g} is asked"
            for check in gate.checks
            if not check.passed
        )
        raise ExportError(
            f"the quality gate of {self.manifest.name!r} failed{failed and f' ({failed})'}: export "
            "a variant that passed, or say --allow-failed-gate, which edge.json will tell"
        )


def _read(store: ModelStore, model: str, variant: str) -> tuple[Manifest, str, bytes]:
    """Manifest, its hash and the artifact, of one and the same publication."""
    while True:
        digest = store.manifest_sha256(model, variant)
        _require_graph(store, store.manifest(model, variant))
        files = store.load(model, variant)
        if store.manifest_sha256(model, variant) == digest:
            return files.manifest, digest, files.artifact


def _require_graph(store: ModelStore, manifest: Manifest) -> None:
    if manifest.runtime.engine == "onnxruntime":
        return
    others = (store.manifest(manifest.model, name) for name in store.variants(manifest.model))
    graphs = [other for other in others if other.runtime.engine == "onnxruntime"]
    same = [other.name for other in graphs if other.family == manifest.family]
    names = " or ".join(same or [other.name for other in graphs])
    advice = f"export {names}" if names else "add a variant with steps: [onnx: {}] to the recipe"
    raise ExportError(
        f"{manifest.name!r} is a PyTorch program ({manifest.runtime.artifact}), which neither "
        f"phones nor browsers run: {advice} instead"
    )


def _taken(artifact: bytes, document: ModelDocument) -> tuple[TensorSpec, ...]:
    try:
        graph = onnx.load_from_string(artifact).graph
    except DecodeError as error:
        raise ExportError(f"the artifact is no ONNX model: {error}; publish it again") from error
    weights = {tensor.name for tensor in graph.initializer}
    taken = {value.name for value in graph.input} - weights
    listed = tuple(spec for spec in document.inputs if spec.name in taken)
    if unknown := sorted(taken - {spec.name for spec in listed}):
        raise ExportError(
            f"the graph takes {', '.join(unknown)}, which model.json does not list among the "
            "inputs: publish it again"
        )
    return listed


def _rows(samples: Samples, inputs: Sequence[TensorSpec], count: int) -> Iterator[Arrays]:
    if count < 1:
        raise ExportError(f"--samples is {count}: expected at least 1, as the checks run on them")
    for row in range(min(count, len(samples))):
        whole = samples.rows(row, row + 1)
        yield {spec.name: whole[spec.name] for spec in inputs}
