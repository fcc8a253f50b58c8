"""The documents of a model store: `model.json`, `manifest.json` and `baselines.json`.

All are frozen, carry a schema version and reject unknown keys, so that a reader of an older
release says so instead of guessing. This module imports neither torch nor onnx.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

SCHEMA_VERSION: Literal[1] = 1

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip
"""Tensor datatypes as the Open Inference Protocol spells them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FEATURE = re.compile(r'[^"\\\x00-\x1f]+')


def is_name(text: str) -> bool:
    """Whether a model or variant may be called that; '../x' may not."""
    return _NAME.fullmatch(text) is not None


def _check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(
            f"{name!r} is not a name: up to 63 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return name


Name = Annotated[str, AfterValidator(_check_name)]
"""A model's or a variant's name: safe as a folder, as a URL segment and as a metric label."""


def is_feature(text: str) -> bool:
    """Whether a feature may be called that: any text but quotes, backslashes, control characters.

    What may stand in a JSON object's key without being escaped.
    """
    return _FEATURE.fullmatch(text) is not None


def _check_feature(name: str) -> str:
    if not is_feature(name):
        raise ValueError(
            f"{name!r} is not a feature's name: some text without '\"', '\\' and control characters"
        )
    return name


FeatureName = Annotated[str, AfterValidator(_check_feature)]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Document(BaseModel):
    """Base of everything stored: frozen, unknown keys are errors, NaN is not JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(Document):
    """One input or output: its shape includes the batch dimension, -1 means variable."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    features: tuple[FeatureName, ...] | None = None
    """What the places of the last dimension are called, in order; None: they have no names."""

    @model_validator(mode="after")
    def _one_name_for_each(self) -> TensorSpec:
        names = self.features
        if names is None:
            return self
        if len(self.shape) < 2 or self.shape[-1] != len(names):
            raise ValueError(
                f"features of {self.name!r}: {len(names)} names for the shape {list(self.shape)}, "
                "expected one for each place of the last of two or more dimensions"
            )
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"features of {self.name!r}: {', '.join(doubled)} given twice")
        return self


class StoredFile(Document):
    """A file beside its document: path relative to it, sha256 (hex) and size."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: Sha256
    bytes: NonNegativeInt


class Decision(Document):
    """How a score becomes a decision: `outputs[output] >= threshold` is an alert."""

    output: str
    threshold: float


class ModelDocument(Document):
    """`<store>/<model>/model.json`: what every variant of the model has in common."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Name
    workload: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decision: Decision
    routing_key: str
    """Request parameter whose value keeps a caller with a variant, e.g. `customer_id`."""
    champion: Name
    """The variant that answers when nothing else is said, and when another one fails."""
    samples: StoredFile
    data: dict[str, Any] = {}
    """Where samples and quality come from: source, windows, seed, hash."""


class Estimate(Document):
    """A figure with its 95 % interval; `low` and `high` are None where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Machine(Document):
    """Where a latency was measured."""

    cpu: str
    cores: PositiveInt
    threads: PositiveInt
    memory_bytes: NonNegativeInt
    platform: str
    versions: dict[str, str] = {}


class RowLatency(Document):
    """Model-only latency of one batch size, seconds per call."""

    rows: PositiveInt
    calls: PositiveInt
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float


class Latency(Document):
    """Model-only latency by batch size: the runner alone, no server, `machine.threads` threads."""

    machine: Machine
    by_rows: tuple[RowLatency, ...]


class DecisionChanges(Document):
    """Rows that a variant decides otherwise than the original, each at its own threshold.

    Counts are of the rows that were read. In a weighted sample such rows are drawn more often
    than others: shares of all rows are weighted, counts are not.
    """

    alert_to_pass: NonNegativeInt
    pass_to_alert: NonNegativeInt
    positives_lost: NonNegativeInt
    """Positives among `alert_to_pass`: the original finds them, the variant does not."""
    positives_gained: NonNegativeInt
    alert_to_pass_share: float
    """Weighted share of all rows."""
    pass_to_alert_share: float
    mcnemar_p: float
    """Exact two-sided probability of counts as unequal as these, were both ways as likely."""


class WorstSegment(Document):
    """The segment in which a variant keeps the least of the original's average precision."""

    dimension: str
    name: str
    ratio: float
    low: float | None = None
    high: float | None = None


class Quality(Document):
    """Quality on the test weeks; metrics and ratios by name, see `compression.quality`."""

    test: str
    """Which rows: the window, and whether all of them or a weighted sample."""
    rows: PositiveInt
    positives: NonNegativeInt
    metrics: dict[str, Estimate]
    """average_precision, auc, card_precision_100, recall_at_fpr_1pct, ece."""
    ratios_to_original: dict[str, Estimate] = {}
    ratios_to_parent: dict[str, Estimate] = {}
    decision_agreement: float | None = None
    """Share of test rows on which this variant and the original decide alike."""
    distinct_scores: PositiveInt
    distinct_scores_original: PositiveInt | None = None
    decision_changes: DecisionChanges | None = None
    worst_segment: WorstSegment | None = None
    """None where the workload has no segments, or none with enough positives."""


class GateCheck(Document):
    """One condition of the gate: `value` had to be at least `bound`."""

    name: str
    value: float
    bound: float
    passed: bool


class Gate(Document):
    """Verdict of the quality gate; the original is the reference it is measured against."""

    verdict: Literal["reference", "passed", "failed"]
    checks: tuple[GateCheck, ...] = ()


class ChainStep(Document):
    """One technique of the chain that made the variant, with its options and its cost."""

    technique: str
    options: dict[str, Any] = {}
    seconds: float
    notes: dict[str, Any] = {}


class Lineage(Document):
    """How a variant was made, enough to make it again."""

    parent: Name | None
    chain: tuple[ChainStep, ...]
    recipe_sha256: Sha256
    content_sha256: Sha256
    """Hash of everything the artifact depends on: data, options, code version, parent."""
    data_sha256: Sha256
    seed: int


class Runtime(Document):
    """What runs the artifact: the file to open and the packages it needs (name → version)."""

    engine: Literal["onnxruntime", "torch"]
    artifact: str
    precision: Literal["fp32", "fp16", "int8", "int4"]
    needs: dict[str, str] = {}
    integer_kernels: NonNegativeInt = 0
    """Integer kernels in the graph after ONNX Runtime's optimisation; 0 for a float model."""


class Manifest(Document):
    """`<store>/<model>/variants/<name>/manifest.json`, written last: it makes a variant exist."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: Name
    name: Name
    family: Literal[
        "original", "pruned", "quantized", "distilled", "factorized", "imported", "baseline"
    ]
    created_at: str
    runtime: Runtime
    files: tuple[StoredFile, ...]
    lineage: Lineage
    parameters: NonNegativeInt
    """Trained numbers; of an imported graph its constants, and thresholds and leaves of trees."""
    flops_per_row: NonNegativeInt | None
    """None where the graph does something else than multiply matrices, e.g. walk trees."""
    decision_threshold: float
    """Threshold of this variant, chosen on validation data for the original's alert rate."""
    quality: Quality
    gate: Gate
    latency: Latency
    probe_scores: tuple[float, ...]
    """Scores of the first rows of samples.npz: a server checks itself against them."""

    @property
    def bytes(self) -> int:
        """Size of all files of the variant, bytes."""
        return sum(file.bytes for file in self.files)


class Baseline(Document):
    """A model the original is held against; it is measured for quality and not served."""

    name: Name
    description: str
    parameters: NonNegativeInt | None
    training_seconds: float
    quality: Quality


class Baselines(Document):
    """`<store>/<model>/baselines.json`, optional: the report's honest comparisons."""

    schema_version: Literal[1] = SCHEMA_VERSION
    profile: str
    notes: tuple[str, ...] = ()
    """Sentences the report prints as they are: does the original earn its cost, did the
    teacher help, what was sampled."""
    baselines: tuple[Baseline, ...]
