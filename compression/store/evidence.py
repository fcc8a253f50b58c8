"""`evidence.json`: what the model card shows beyond the manifests."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from compression.store.manifest import (
    SCHEMA_VERSION,
    DecisionChanges,
    Document,
    Estimate,
    Name,
    Sha256,
)


class Segment(Document):
    """How one variant does on the rows of one segment, and how the original does there.

    Figures are None where a class is missing among the rows, and in the original's own segments
    where they would compare it with itself.
    """

    dimension: str
    """What the rows are divided by, e.g. amount."""
    name: str
    rows: PositiveInt
    positives: NonNegativeInt
    average_precision: float | None
    average_precision_original: float | None
    auc: float | None
    auc_original: float | None
    average_precision_ratio: Estimate | None
    """With a paired interval; None where the segment has too few positives for one."""
    auc_ratio: Estimate | None
    alert_rate: float | None
    alert_rate_original: float | None
    decision_agreement: float | None
    changes: DecisionChanges | None


class ReliabilityBin(Document):
    """Rows of neighbouring scores: the mean score, and the share that was positive."""

    rows: PositiveInt
    predicted: float
    observed: float
    low: float
    """Of the 95 % interval of `observed`."""
    high: float


class ScoreDifferences(Document):
    """Histogram of `variant - original` over rows, weighted."""

    edges: tuple[float, ...]
    """Rising; one more than shares."""
    shares: tuple[float, ...]
    median: float
    """Of the absolute difference."""
    p99: float
    largest: float


class VariantEvidence(Document):
    """Evidence of one variant."""

    reliability: tuple[ReliabilityBin, ...]
    differences: ScoreDifferences | None = None
    """None for the original."""
    segments: tuple[Segment, ...] = ()


class Evidence(Document):
    """`<store>/<model>/evidence.json`, optional."""

    schema_version: Literal[1] = SCHEMA_VERSION
    rows_sha256: Sha256
    """Hash of data, test rows and weights: evidence on other rows cannot be put beside this."""
    minimum_positives: NonNegativeInt
    """How many positives a segment needs for an interval."""
    variants: dict[Name, VariantEvidence]
