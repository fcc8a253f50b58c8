"""The documents of an exported folder: `edge.json` and `samples.json`.

Frozen and versioned like the store's; unknown keys are errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from compression.store.manifest import (
    Decision,
    Document,
    Gate,
    Name,
    Sha256,
    StoredFile,
    TensorSpec,
)

SCHEMA_VERSION: Literal[1] = 1
EDGE_DOCUMENT, SAMPLES, INSTRUCTIONS = "edge.json", "samples.json", "README.md"


class Memory(Document):
    """What the model adds to its runtime's memory with one row at a time, bytes.

    See `compression.edge.memory` for how each figure is found and what it leaves out.
    """

    peak_bytes: NonNegativeInt
    """The larger of the next two: what a budget is held against."""
    load_bytes: NonNegativeInt
    run_bytes: NonNegativeInt
    weights_bytes: NonNegativeInt
    activations_bytes: NonNegativeInt
    fullest_node: str
    """The node that runs while most activations are alive."""
    method: str


class Source(Document):
    """Which publication of which variant was exported."""

    artifact: StoredFile
    manifest_sha256: Sha256


class EdgeDocument(Document):
    """`edge.json`: what an app must know of the model beside it.

    The same store gives the same document, but for the hash of a file in ORT format.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    model: Name
    variant: Name
    format: Literal["onnx", "ort"]
    file: StoredFile
    precision: Literal["fp32", "fp16", "int8", "int4"]
    inputs: tuple[TensorSpec, ...]
    """What the file takes, by name; a variable dimension is -1."""
    outputs: tuple[TensorSpec, ...]
    decision: Decision
    """With this variant's own threshold: `outputs[output] >= threshold` is an alert."""
    gate: Gate
    allowed_failed_gate: bool
    """True where the gate failed and the export was asked for all the same."""
    memory: Memory
    ir_version: PositiveInt
    opsets: dict[str, PositiveInt]
    """Operator sets of the file by domain; "" is ONNX's own."""
    runs_on: str
    """The runtime whose limits the file was checked against, and its version."""
    samples: StoredFile
    source: Source
    made_with: dict[str, str]


class EdgeRequest(Document):
    """A held-out request of one row and what the server answers, values in row-major order."""

    inputs: dict[str, tuple[int | float | bool, ...]]
    outputs: dict[str, tuple[int | float | bool, ...]]
    alert: bool | None
    """The decision; None where the output it is made on has several values a row."""


class EdgeSamples(Document):
    """`samples.json`: what an app's developer checks a port against."""

    schema_version: Literal[1] = SCHEMA_VERSION
    requests: tuple[EdgeRequest, ...]
