from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from compression.store import (
    Baselines,
    CorruptArtifactError,
    Evidence,
    ModelStore,
    Publisher,
    StoreUnavailableError,
    VariantExistsError,
)
from compression.store.reader import VariantFiles
from tests.compression.full_disk import fill_disk
from tests.compression.store.published import ARTIFACT, publish
from tests.support.store import make_document, make_manifest, make_samples

NEW = b"the new artifact"


class Killed(BaseException):
    """Ends a publish in the middle, as Ctrl-C would."""


def _hidden(folder: Path) -> list[str]:
    return [path.name for path in (folder / "fraud" / "variants").glob(".*")]


def _kill_on_write(monkeypatch: pytest.MonkeyPatch, name: str, *, half: bool = True) -> None:
    """Writing a file of that name ends in `Killed`, half of it written."""
    write = Path.write_bytes

    def killed(path: Path, data: bytes) -> int:
        if path.name != name:
            return write(path, data)
        if half:
            write(path, data[: len(data) // 2])
        raise Killed

    monkeypatch.setattr(Path, "write_bytes", killed)


def test_a_published_variant_is_immutable(uri: str) -> None:
    publish(uri)
    with pytest.raises(VariantExistsError, match=r"'original' .* published already.*--replace"):
        publish(uri, artifact=NEW)
    assert ModelStore(uri).load("fraud", "original").artifact == ARTIFACT


def test_replace_leaves_only_the_new_files(uri: str) -> None:
    publish(uri)
    manifest = make_manifest("original", NEW, [0.5], engine="torch")
    Publisher(uri).publish_variant(manifest, {"model.pt2": NEW}, replace=True)
    store = ModelStore(uri)
    assert store.load("fraud", "original").contents == {"model.pt2": NEW}
    left = store._fs.ls(f"{store._root}/fraud/variants/original", detail=False)
    assert sorted(str(path).rsplit("/", 1)[-1] for path in left) == ["manifest.json", "model.pt2"]


@pytest.mark.parametrize(
    "contents", [{}, {"model.onnx": NEW}, {"model.onnx": ARTIFACT, "other": b""}, {"x": ARTIFACT}]
)
def test_files_that_the_manifest_does_not_describe_are_not_written(
    uri: str, contents: dict[str, bytes]
) -> None:
    publisher = Publisher(uri)
    with pytest.raises(ValueError, match="does not describe its files"):
        publisher.publish_variant(make_manifest("original", ARTIFACT, [0.5]), contents)
    assert ModelStore(uri).variants("fraud") == ()


def test_publishing_a_model_again_keeps_its_variants(uri: str) -> None:
    publish(uri)
    publisher = Publisher(uri)
    publisher.publish_model(make_document("close"), make_samples(rows=3))
    publisher.publish_baselines("fraud", Baselines(profile="demo", baselines=()))
    evidence = Evidence(rows_sha256="0" * 64, minimum_positives=50, variants={})
    assert ModelStore(uri).evidence("fraud") is None
    publisher.publish_evidence("fraud", evidence)
    publisher.publish_card("fraud", "<p>card", "# card")
    store = ModelStore(uri)
    assert store.evidence("fraud") == evidence
    assert store.models() == ("fraud",)
    assert store.model("fraud").champion == "close"
    assert len(store.samples("fraud")) == 3
    assert store.baselines("fraud") == Baselines(profile="demo", baselines=())
    assert store.load("fraud", "original").artifact == ARTIFACT


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_variant_killed_while_written_does_not_exist(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        _kill_on_write(patch, name)
        with pytest.raises(Killed):
            publish(str(folder), "int8")
    store = ModelStore(str(folder))
    assert store.variants("fraud") == ("original",)
    with pytest.raises(StoreUnavailableError, match="no variant 'int8'"):
        store.load("fraud", "int8")
    assert _hidden(folder) == []
    publish(str(folder), "int8")
    assert store.load("fraud", "int8").artifact == ARTIFACT


def test_what_a_power_cut_leaves_aside_is_not_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # nobody is left to clean up
        _kill_on_write(patch, "manifest.json")
        with pytest.raises(Killed):
            publish(str(folder), "int8")
    assert len(_hidden(folder)) == 1
    assert ModelStore(str(folder)).variants("fraud") == ("original",)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_replacement_killed_while_written_leaves_the_old_variant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        _kill_on_write(patch, name)
        with pytest.raises(Killed):
            publish(str(folder), artifact=NEW, replace=True)
    assert ModelStore(str(folder)).load("fraud", "original").artifact == ARTIFACT
    assert _hidden(folder) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_replacement_killed_while_renamed_leaves_the_old_variant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    rename, calls = os.rename, [0]

    def killed(source: Any, target: Any) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", killed)
        with pytest.raises(Killed):
            publish(str(folder), artifact=NEW, replace=True)
    assert ModelStore(str(folder)).load("fraud", "original").artifact == ARTIFACT
    assert _hidden(folder) == []


@pytest.mark.parametrize("call", ["pipe_file", "rm", "rm_file"])
@pytest.mark.parametrize("after", [0, 1])
def test_an_object_store_shows_a_variant_whole_or_not_at_all(
    memory_uri: str, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    publish(memory_uri)
    publisher = Publisher(memory_uri)
    original, calls = getattr(publisher._fs, call), [0]

    def killed(*args: Any, **kwargs: Any) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise Killed
        original(*args, **kwargs)

    new = make_manifest("original", NEW, [0.5])
    with monkeypatch.context() as patch:
        patch.setattr(publisher._fs, call, killed)
        with contextlib.suppress(Killed):
            publisher.publish_variant(new, {"model.onnx": NEW}, replace=True)
    store = ModelStore(memory_uri)
    if "original" in store.variants("fraud"):
        assert store.load("fraud", "original").artifact in (ARTIFACT, NEW)
    publisher.publish_variant(new, {"model.onnx": NEW}, replace=True)
    assert store.load("fraud", "original").artifact == NEW


@pytest.mark.parametrize("document", ["model.json", "samples.npz"])
def test_a_model_killed_while_written_keeps_its_old_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    replace = os.replace

    def killed(source: Any, target: Any) -> None:
        if str(target).endswith(document):
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(Killed):
            Publisher(str(folder)).publish_model(make_document("close"), make_samples())
    store = ModelStore(str(folder))
    assert store.model("fraud").champion == "original"
    assert len(store.samples("fraud")) == 64
    assert sorted(path.name for path in (folder / "fraud").iterdir()) == [
        "model.json", "samples.npz", "variants",
    ]  # fmt: skip


@pytest.mark.parametrize("fails_at", range(4))
def test_a_full_disk_at_any_write_leaves_the_store_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    def publish() -> None:
        publisher = Publisher(str(folder))
        publisher.publish_variant(
            make_manifest("original", NEW, [0.5]), {"model.onnx": NEW}, replace=True
        )
        publisher.publish_model(make_document("close"), make_samples(32))

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = files()
    with monkeypatch.context() as patch:
        written: list[str] = []

        def is_full(path: str) -> bool:
            written.append(path)
            return len(written) == fails_at + 1

        fill_disk(patch, is_full)
        with pytest.raises(OSError, match="No space left on device: ") as caught:
            publish()
    assert len(written) == fails_at + 1
    assert str(folder) in str(caught.value.filename), "it says which file"
    after = files()
    of_the_model = {path for path in before if path.parent.name == "fraud"}
    assert {path: after[path] for path in of_the_model} == {p: before[p] for p in of_the_model}
    assert set(after) == set(before), "nothing half-written is left"
    if fails_at < 2:
        assert after == before
    publish()
    store = ModelStore(str(folder))
    assert store.load("fraud", "original").artifact == NEW
    assert len(store.samples("fraud")) == 32


def test_a_reader_caught_by_a_replacement_gets_the_new_variant(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest was read before, the artifact after: their hashes do not fit."""
    publish(uri)
    store = ModelStore(uri)
    read_manifest, reads = store.manifest, [0]

    def replaced_after_reading(model: str, variant: str) -> Any:
        manifest = read_manifest(model, variant)
        reads[0] += 1
        if reads[0] == 1:
            publish(uri, artifact=NEW, replace=True)
        return manifest

    monkeypatch.setattr(store, "manifest", replaced_after_reading)
    files = store.load("fraud", "original")
    assert files.artifact == NEW
    assert files.manifest.files == make_manifest("original", NEW, []).files


def test_readers_beside_a_busy_publisher_see_whole_variants(folder: Path) -> None:
    uri, done = str(folder), threading.Event()
    seen: list[VariantFiles] = []
    broken: list[CorruptArtifactError] = []

    def read() -> None:
        store = ModelStore(uri)
        while not done.is_set():
            try:
                seen.append(store.load("fraud", "original"))
            except StoreUnavailableError:
                continue  # not at all: between two renames
            except CorruptArtifactError as error:
                broken.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    publisher = Publisher(uri)
    try:
        for round_ in range(60):
            content = bytes([round_]) * (1000 + round_)
            manifest = make_manifest("original", content, [0.5])
            publisher.publish_variant(manifest, {"model.onnx": content}, replace=True)
    finally:
        done.set()
        reader.join()
    assert broken == []
    assert seen
    assert all(len(set(files.artifact)) == 1 for files in seen if files.artifact != ARTIFACT)
