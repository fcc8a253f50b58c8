from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.store import CorruptArtifactError, ModelStore, StoreUnavailableError
from tests.compression.store.published import ARTIFACT, publish
from tests.support.store import make_samples

VARIANT = "fraud/variants/original"


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("replace", [False, True])
def test_a_variant_reads_back_byte_for_byte(uri: str, replace: bool) -> None:
    if replace:
        publish(uri, artifact=b"an older one")
    publish(uri, replace=replace)
    store = ModelStore(uri)
    assert store.models() == ("fraud",)
    assert store.variants("fraud") == ("original",)
    files = store.load("fraud", "original")
    assert files.artifact == ARTIFACT
    assert files.contents == {"model.onnx": ARTIFACT}
    assert files.manifest == store.manifest("fraud", "original")
    assert files.manifest.files[0].sha256 == hashlib.sha256(ARTIFACT).hexdigest()


def test_the_model_and_its_samples_read_back(uri: str) -> None:
    publish(uri)
    store = ModelStore(uri)
    assert store.model("fraud").champion == "original"
    samples = store.samples("fraud")
    for name, array in make_samples().inputs.items():
        np.testing.assert_array_equal(samples.inputs[name], array)
    assert store.baselines("fraud") is None


def test_no_store_says_how_to_make_one(uri: str) -> None:
    with pytest.raises(StoreUnavailableError, match="python -m compression run RECIPE"):
        ModelStore(uri).models()


def test_a_folder_without_models_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "fraud").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"expected <model>/model\.json"):
        ModelStore(str(tmp_path)).models()


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreUnavailableError, match="no model store"):
        ModelStore(str(tmp_path / "store")).models()


@pytest.mark.parametrize("uri", ["nonsense://store", "s3://bucket/models"])
def test_a_protocol_that_cannot_be_spoken_is_explained(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_installed(*_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    if uri.startswith("s3"):
        monkeypatch.setattr("fsspec.core.url_to_fs", not_installed)
    with pytest.raises(StoreUnavailableError, match=f"cannot open store {uri}: "):
        ModelStore(uri)


def test_what_is_not_there_is_named_beside_what_is(folder: Path) -> None:
    store = ModelStore(str(folder))
    with pytest.raises(StoreUnavailableError, match=r"no model 'loans' .* it holds fraud"):
        store.model("loans")
    with pytest.raises(StoreUnavailableError, match=r"no variant 'int8' .* it holds original"):
        store.load("fraud", "int8")
    with pytest.raises(StoreUnavailableError, match="it holds none"):
        store.load("loans", "int8")


@pytest.mark.parametrize("name", ["../x", "..", "fraud/../fraud", ".", ""])
def test_no_name_leads_out_of_the_store(folder: Path, name: str) -> None:
    shutil.copytree(folder / "fraud", folder.parent / "x")
    store = ModelStore(str(folder))
    assert store.variants(name) == ()
    assert store.baselines(name) is None
    for read in (store.model, store.samples):
        with pytest.raises(StoreUnavailableError, match="no model"):
            read(name)
    for read_variant in (store.manifest, store.load):
        with pytest.raises(StoreUnavailableError, match="no variant"):
            read_variant(name, "original")
        with pytest.raises(StoreUnavailableError, match="no variant"):
            read_variant("fraud", f"../variants/{name or 'original'}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-1], "has 1791 bytes, its document says 1792: the file was changed or cut"),
        (lambda b: b"", "has 0 bytes"),
        (lambda b: b + b"\0", "has 1793 bytes"),
        (lambda b: bytes([b[0] ^ 1]) + b[1:], "sha256 .* changed after it was published"),
    ],
    ids=["cut", "emptied", "longer", "one bit"],
)
def test_a_changed_file_is_never_handed_out(
    folder: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    artifact = folder / VARIANT / "model.onnx"
    artifact.write_bytes(damage(artifact.read_bytes()))
    with pytest.raises(CorruptArtifactError, match=f"{message}.*publish it again"):
        ModelStore(str(folder)).load("fraud", "original")


def test_a_missing_file_is_corruption(folder: Path) -> None:
    (folder / VARIANT / "model.onnx").unlink()
    with pytest.raises(CorruptArtifactError, match=r"model\.onnx is missing .* publish it again"):
        ModelStore(str(folder)).load("fraud", "original")


def test_changed_samples_are_never_handed_out(folder: Path) -> None:
    samples = folder / "fraud" / "samples.npz"
    samples.write_bytes(samples.read_bytes()[:-1])
    with pytest.raises(CorruptArtifactError, match=r"samples\.npz .* its document says"):
        ModelStore(str(folder)).samples("fraud")
    samples.unlink()
    with pytest.raises(CorruptArtifactError, match=r"samples\.npz is missing"):
        ModelStore(str(folder)).samples("fraud")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda d: d["runtime"].update(surprise=1), r"runtime\.surprise: Extra inputs"),
        (lambda d: d.pop("lineage"), "lineage: Field required"),
        (lambda d: d.update(schema_version=2), "schema_version: Input should be 1"),
        (lambda d: d["files"][0].update(path="../model.onnx"), r"files\.0\.path: .*pattern"),
        (lambda d: d.update(name="other"), "describes fraud/other, not fraud/original"),
        (lambda d: d.update(model="loans"), "describes loans/original, not fraud/original"),
    ],
)
def test_an_invalid_manifest_is_corruption_and_says_where(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _edit(folder / VARIANT / "manifest.json", change)
    for read in (ModelStore(str(folder)).manifest, ModelStore(str(folder)).load):
        with pytest.raises(CorruptArtifactError, match=message) as caught:
            read("fraud", "original")
        assert "fraud/variants/original/manifest.json" in str(caught.value)


def test_a_document_that_is_not_json_is_corruption(folder: Path) -> None:
    (folder / VARIANT / "manifest.json").write_text("{")
    (folder / "fraud" / "model.json").write_bytes(b"\xff\xfe")
    (folder / "fraud" / "baselines.json").write_text("[]")
    (folder / "fraud" / "evidence.json").write_text('{"schema_version": 2}')
    store = ModelStore(str(folder))
    with pytest.raises(CorruptArtifactError, match=r"manifest\.json .* not a valid Manifest"):
        store.manifest("fraud", "original")
    with pytest.raises(CorruptArtifactError, match=r"model\.json .* not a valid ModelDocument"):
        store.model("fraud")
    with pytest.raises(CorruptArtifactError, match=r"baselines\.json .* not a valid Baselines"):
        store.baselines("fraud")
    with pytest.raises(CorruptArtifactError, match=r"evidence\.json .* not a valid Evidence"):
        store.evidence("fraud")


def test_a_renamed_model_is_corruption(folder: Path) -> None:
    (folder / "fraud").rename(folder / "loans")
    with pytest.raises(CorruptArtifactError, match=r"loans/model\.json .* describes fraud"):
        ModelStore(str(folder)).model("loans")


def test_the_runtime_opens_a_listed_file_only(folder: Path) -> None:
    (folder / VARIANT / "other.onnx").write_bytes(b"not listed, so not verified")
    _edit(folder / VARIANT / "manifest.json", lambda d: d["runtime"].update(artifact="other.onnx"))
    with pytest.raises(CorruptArtifactError, match=r"'other\.onnx', which is not among its files"):
        ModelStore(str(folder)).load("fraud", "original")


def test_what_has_no_manifest_or_no_name_is_not_listed(folder: Path) -> None:
    variants = folder / "fraud" / "variants"
    (variants / "half").mkdir()
    (variants / "half" / "model.onnx").write_bytes(ARTIFACT)
    for name in (".original.0123", "a name"):
        shutil.copytree(variants / "original", variants / name)
    (variants / "a-file").write_bytes(b"")
    assert ModelStore(str(folder)).variants("fraud") == ("original",)


def test_a_variant_removed_between_listing_and_reading_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(str(folder))
    monkeypatch.setattr(store, "variants", lambda model: ("original",))
    (folder / VARIANT / "manifest.json").unlink()
    with pytest.raises(StoreUnavailableError, match="is being replaced; try again"):
        store.load("fraud", "original")


def test_an_unreadable_file_is_unavailable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(str(folder))

    def fail(*_: object, **__: object) -> bytes:
        raise PermissionError("Permission denied")

    monkeypatch.setattr(store._fs, "cat_file", fail)
    with pytest.raises(StoreUnavailableError, match=r"cannot read .*: Permission denied"):
        store.model("fraud")
