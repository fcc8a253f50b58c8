"""The model store: the one contract between compression, serving and load tests.

    <store>/<model>/model.json       what all variants share, and the champion
    <store>/<model>/samples.npz      held-out requests with labels
    <store>/<model>/baselines.json   optional: what the original is held against
    <store>/<model>/evidence.json    optional: what the model card is drawn from
    <store>/<model>/card.html, .md   optional: the model card
    <store>/<model>/variants/<name>/ manifest.json and the artifact (model.onnx or model.pt2)

What round-trips: a published variant reads back byte for byte, or not at all.
"""

from compression.store.errors import (
    CorruptArtifactError,
    StoreError,
    StoreUnavailableError,
    VariantExistsError,
)
from compression.store.evidence import (
    Evidence,
    ReliabilityBin,
    ScoreDifferences,
    Segment,
    VariantEvidence,
)
from compression.store.manifest import (
    Baseline,
    Baselines,
    ChainStep,
    Decision,
    DecisionChanges,
    Estimate,
    Gate,
    GateCheck,
    Latency,
    Lineage,
    Machine,
    Manifest,
    ModelDocument,
    Quality,
    RowLatency,
    Runtime,
    StoredFile,
    TensorSpec,
    WorstSegment,
)
from compression.store.publisher import Publisher, describe
from compression.store.reader import ModelStore, VariantFiles
from compression.store.samples import Samples

__all__ = [
    "Baseline", "Baselines", "ChainStep", "CorruptArtifactError", "Decision", "DecisionChanges",
    "Estimate", "Evidence", "Gate", "GateCheck", "Latency", "Lineage", "Machine", "Manifest",
    "ModelDocument", "ModelStore", "Publisher", "Quality", "ReliabilityBin", "RowLatency",
    "Runtime", "Samples", "ScoreDifferences", "Segment", "StoreError", "StoreUnavailableError",
    "StoredFile", "TensorSpec", "VariantEvidence", "VariantExistsError", "VariantFiles",
    "WorstSegment", "describe",
]  # fmt: skip
