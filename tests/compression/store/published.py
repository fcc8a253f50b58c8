"""Publishes the tiny model with one variant whose artifact nobody looks into."""

from __future__ import annotations

from compression.store import Publisher
from tests.support.store import make_document, make_manifest, make_samples

ARTIFACT = bytes(range(256)) * 7


def publish(
    uri: str, name: str = "original", artifact: bytes = ARTIFACT, *, replace: bool = False
) -> None:
    """The tiny model and one variant of it, whose artifact is not looked into."""
    publisher = Publisher(uri)
    publisher.publish_model(make_document(), make_samples())
    publisher.publish_variant(
        make_manifest(name, artifact, [0.5]), {"model.onnx": artifact}, replace=replace
    )
