from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compression.store import CorruptArtifactError, ModelStore, Publisher, StoreUnavailableError
from compression.store.layout import PROBE_ROWS
from serve_app.errors import SelfCheckError
from serve_app.runners import Arrays, load_variant
from serve_app.runners.onnx import OnnxRunner
from tests.support.store import (
    MARKER,
    MODEL,
    make_document,
    make_onnx,
    make_samples,
    publish,
    scores,
)


def test_a_variant_loads_and_computes(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    loaded = load_variant(ModelStore(store_uri), MODEL, "close", 1)
    batch = make_samples().rows(40, 45)
    outputs = loaded.runner.run(batch)
    np.testing.assert_allclose(outputs["score"], scores(batch, shift=0.01), atol=1e-6)
    assert loaded.manifest.name == "close"
    assert 0 < loaded.seconds_per_call < 1
    assert "CPUExecutionProvider" in loaded.runner.detail


def test_it_is_warm_up_to_the_largest_batch(
    store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, run = set[int](), OnnxRunner.run

    def noted(runner: OnnxRunner, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        rows.add(len(inputs["transaction"]))
        return run(runner, inputs)

    monkeypatch.setattr(OnnxRunner, "run", noted)
    load_variant(ModelStore(store_uri), MODEL, "close", 1, max_batch_rows=300)
    assert {1, PROBE_ROWS, 300} == rows


def test_the_fragile_one_fails_only_on_the_marker(
    store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # a GPU reads beyond the end, and says nothing
    runner = load_variant(ModelStore(store_uri), MODEL, "fragile", 1).runner
    batch = make_samples().rows(0, 2)
    runner.run(batch)
    batch["transaction"][1, 0] = MARKER
    with pytest.raises(Exception, match=r"out of data bounds|index"):
        runner.run(batch)


def publisher(folder: Path) -> Publisher:
    made = Publisher(str(folder))
    made.publish_model(make_document(), make_samples())
    return made


def test_scores_other_than_the_recorded_ones_are_refused(tmp_path: Path) -> None:
    publish(publisher(tmp_path), "original", make_onnx(), probe_offset=0.01)
    with pytest.raises(SelfCheckError, match=r"scores sample row \d+ as .* manifest records"):
        load_variant(ModelStore(str(tmp_path)), MODEL, "original", 1)


def test_a_model_that_cannot_be_opened_names_the_variant(tmp_path: Path) -> None:
    publish(publisher(tmp_path), "original", b"not a graph")
    with pytest.raises(CorruptArtifactError, match="variant 'original' of 'fraud'"):
        load_variant(ModelStore(str(tmp_path)), MODEL, "original", 1)


def test_a_changed_file_is_not_opened(tmp_path: Path) -> None:
    publish(publisher(tmp_path), "original", make_onnx())
    artifact = tmp_path / MODEL / "variants" / "original" / "model.onnx"
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="sha256"):
        load_variant(ModelStore(str(tmp_path)), MODEL, "original", 1)


def test_an_unknown_variant_is_named(store_uri: str) -> None:
    with pytest.raises(StoreUnavailableError, match="no variant 'nobody'"):
        load_variant(ModelStore(store_uri), MODEL, "nobody", 1)
