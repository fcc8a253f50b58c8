from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from compression.store import (
    Baseline,
    Baselines,
    Estimate,
    Manifest,
    ModelDocument,
    StoredFile,
    TensorSpec,
)
from compression.store.manifest import is_name
from tests.support.store import make_document, make_manifest

BAD_NAMES = [
    "", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "a b", "a\n", "é", "a" * 64, "a\x00b",
]  # fmt: skip


def _manifest_json(**changes: Any) -> str:
    document = make_manifest("small", b"bytes", [0.25, 0.75]).model_dump(mode="json")
    return json.dumps(document | changes)


@pytest.mark.parametrize("name", ["a", "original-onnx", "v1.2_b", "0", "a" * 63, "a..b"])
def test_names_that_are_safe_everywhere(name: str) -> None:
    assert is_name(name)
    assert Manifest.model_validate_json(_manifest_json(name=name)).name == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    assert not is_name(name)
    for key in ("name", "model"):
        with pytest.raises(ValidationError, match="is not a name: up to 63 letters"):
            Manifest.model_validate_json(_manifest_json(**{key: name}))
    with pytest.raises(ValidationError, match="champion"):
        ModelDocument.model_validate(make_document().model_dump() | {"champion": name})


@pytest.mark.parametrize("path", ["../model.onnx", "/etc/passwd", "a/b", "", ".x", "a\n", "a b"])
def test_a_listed_file_lies_beside_its_document(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        StoredFile(path=path, sha256="0" * 64, bytes=1)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_a_hash_is_64_lower_case_hex_digits(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        StoredFile(path="model.onnx", sha256=sha256, bytes=1)


def test_documents_round_trip_as_json() -> None:
    manifest = make_manifest("small", b"bytes", [0.1, 1 / 3])
    document = make_document()
    baselines = Baselines(
        profile="demo",
        notes=("a sentence",),
        baselines=(
            Baseline(
                name="boosting", description="trees", parameters=None, training_seconds=1.5,
                quality=manifest.quality,
            ),
        ),
    )  # fmt: skip
    for written in (manifest, document, baselines):
        assert type(written).model_validate_json(written.model_dump_json()) == written


def test_an_unknown_key_is_an_error_at_any_depth() -> None:
    with pytest.raises(ValidationError, match="surprise"):
        Manifest.model_validate_json(_manifest_json(surprise=1))
    lineage = make_manifest("small", b"", [0.5]).lineage.model_dump(mode="json")
    with pytest.raises(ValidationError, match=r"lineage\.surprise"):
        Manifest.model_validate_json(_manifest_json(lineage={**lineage, "surprise": 1}))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(ValidationError, match="schema_version"):
        Manifest.model_validate_json(_manifest_json(schema_version=version))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_are_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Estimate(value=value)


def test_documents_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_document().champion = "other"


def test_the_size_of_a_variant_is_that_of_all_its_files() -> None:
    manifest = make_manifest("small", b"12345", [0.5])
    more = StoredFile(path="notes.txt", sha256="0" * 64, bytes=10)
    assert manifest.model_copy(update={"files": (*manifest.files, more)}).bytes == 15


def _tensor(**changes: Any) -> TensorSpec:
    fields = {"name": "x", "datatype": "FP32", "shape": (-1, 3, 2), "features": ("a", "b")}
    return TensorSpec.model_validate(fields | changes)


def test_features_name_the_places_of_the_last_dimension() -> None:
    spec = _tensor()
    assert spec.features == ("a", "b")
    assert TensorSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("a", "b", "c")}, r"3 names for the shape \[-1, 3, 2\]"),
        (
            {"shape": (-1,)},
            r"2 names for the shape \[-1\], expected one for each place of the last",
        ),
        ({"shape": (-1, -1)}, "2 names for the shape"),
        ({"features": ("a", "a")}, "features of 'x': a given twice"),
        *(({"features": ("a", name)}, "not a feature's name") for name in ("", 'b"', "b\\", "b\n")),
    ],
)
def test_names_of_features_that_callers_could_not_send(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        _tensor(**changes)


def test_a_document_from_before_features_had_names_is_read() -> None:
    old = make_document().model_dump(mode="json")
    for tensor in (*old["inputs"], *old["outputs"]):
        del tensor["features"]
    document = ModelDocument.model_validate_json(json.dumps(old))
    assert [spec.features for spec in document.inputs] == [None, None]
