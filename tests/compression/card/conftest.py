"""A store with evidence, to draw cards from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compression.quality.answers import Answers
from compression.quality.assess import assess
from compression.quality.evidence import evidence_of
from compression.quality.gate import GateConfig, judge
from compression.quality.segmentation import Segmentation
from compression.quality.segments import MINIMUM_POSITIVES, by_segment
from compression.store import Evidence, ModelStore, Publisher
from tests.support.store import build_store


def publish_evidence(uri: str) -> None:
    """Judge scores drawn at random as if they were those of `original`, `close` and `poor`."""
    generator = np.random.default_rng(3)
    size = 4000
    labels = generator.random(size) < 0.1
    logits = generator.normal(size=size) + 2.5 * labels
    drift = {"original": 0.0, "close": 0.05, "poor": 1.5}
    noise = {name: scale * generator.normal(size=size) for name, scale in drift.items()}
    scores = {
        name: (1 / (1 + np.exp(3 - logits - moved))).astype(np.float32)
        for name, moved in noise.items()
    }
    customer, thresholds = generator.integers(0, 200, size), dict.fromkeys(scores, 0.3)
    answers = Answers(labels, scores, thresholds, "original", customer)
    divisions = {
        "amount": Segmentation.bands(np.arange(size), (1500.0, 3950.0), ("low", "<mid>", "high")),
        "channel": Segmentation.of(np.where(np.arange(size) % 2, "shop", "web")),
    }
    segments = by_segment(answers, divisions, replicates=50)
    qualities = assess(
        labels, scores, thresholds, "original", customer, np.zeros(size, np.int32),
        test_description="drawn rows", replicates=50, segments=segments,
    )  # fmt: skip
    reader, publisher = ModelStore(uri), Publisher(uri)
    for name, quality in qualities.items():
        files = reader.load("fraud", name)
        gate = files.manifest.gate if name == "original" else judge(quality, GateConfig())
        manifest = files.manifest.model_copy(update={"quality": quality, "gate": gate})
        publisher.publish_variant(manifest, files.contents, replace=True)
    evidence = Evidence(
        rows_sha256="0" * 64,
        minimum_positives=MINIMUM_POSITIVES,
        variants=evidence_of(answers, tuple(scores), segments),
    )
    publisher.publish_evidence("fraud", evidence)


@pytest.fixture(scope="session")
def bare_store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """As an older release published: manifests alone."""
    return ModelStore(build_store(tmp_path_factory.mktemp("bare")))


@pytest.fixture(scope="session")
def judged_store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """With evidence of `original`, `close` and `poor`; the others have none."""
    folder: Path = tmp_path_factory.mktemp("judged")
    uri = build_store(folder)
    publish_evidence(uri)
    return ModelStore(uri)
