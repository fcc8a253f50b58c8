"""What an exported folder holds, and what is refused before anything is written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from compression.edge import export
from compression.edge.document import EDGE_DOCUMENT, INSTRUCTIONS, SAMPLES, EdgeDocument
from compression.edge.export import ExportOptions, export_variant
from compression.edge.formats import FORMATS, FormatName
from compression.errors import BudgetError, ExportError
from compression.store import (
    Gate,
    GateCheck,
    ModelStore,
    Publisher,
    StoreUnavailableError,
    TensorSpec,
    describe,
)
from tests.compression.edge.asked import options
from tests.compression.edge.graphs import FLOAT, model_of
from tests.compression.edge.students import Students
from tests.support.store import (
    build_store,
    make_document,
    make_manifest,
    make_onnx,
    make_program,
    make_samples,
    publish,
    scores,
)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _nothing_written(out: Path) -> bool:
    return not out.exists() and (not out.parent.exists() or not any(out.parent.iterdir()))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_folder_is_complete_and_its_hashes_hold(
    tiny_store: str, out: Path, kind: FormatName
) -> None:
    edge = export_variant(ModelStore(tiny_store), "fraud", "close", out, options(kind))
    content = _content(out)
    assert set(content) == {f"model.{kind}", EDGE_DOCUMENT, SAMPLES, INSTRUCTIONS}
    assert EdgeDocument.model_validate_json(content[EDGE_DOCUMENT]) == edge
    for file in (edge.file, edge.samples):
        assert describe(file.path, content[file.path]) == file
    folder = Path(tiny_store) / "fraud" / "variants" / "close"
    manifest = (folder / "manifest.json").read_bytes()
    assert edge.source.manifest_sha256 == hashlib.sha256(manifest).hexdigest()
    assert edge.source.artifact == describe("model.onnx", (folder / "model.onnx").read_bytes())


def test_the_document_tells_what_the_store_tells(tiny_store: str, out: Path) -> None:
    store = ModelStore(tiny_store)
    edge = export_variant(store, "fraud", "close", out, options())
    manifest, document = store.manifest("fraud", "close"), store.model("fraud")
    assert (edge.model, edge.variant, edge.format) == ("fraud", "close", "onnx")
    assert (edge.inputs, edge.outputs) == (document.inputs, document.outputs)
    assert edge.decision.output == document.decision.output
    assert edge.decision.threshold == manifest.decision_threshold
    assert edge.gate == manifest.gate
    assert edge.allowed_failed_gate is False
    assert edge.precision == "fp32"
    assert (edge.ir_version, edge.opsets) == (9, {"": 17})
    assert edge.runs_on.startswith("onnxruntime-web ")


def test_a_document_is_frozen_and_rejects_unknown_keys(tiny_store: str, out: Path) -> None:
    edge = export_variant(ModelStore(tiny_store), "fraud", "close", out, options())
    document = json.loads((out / EDGE_DOCUMENT).read_text())
    with pytest.raises(ValueError, match="colour"):
        EdgeDocument.model_validate({**document, "colour": "red"})
    with pytest.raises(ValueError, match="schema_version"):
        EdgeDocument.model_validate({**document, "schema_version": 2})
    with pytest.raises(ValueError, match="frozen"):
        edge.variant = "other"


def test_the_same_store_gives_the_same_folder(
    students: Students, out: Path, tmp_path: Path
) -> None:
    store = ModelStore(students.store)
    for folder in (out, tmp_path / "again"):
        export_variant(store, "fraud", "int8", folder, options())
    assert _content(out) == _content(tmp_path / "again")


def test_in_ort_format_nothing_differs_but_the_file_s_order(
    students: Students, tmp_path: Path
) -> None:
    store = ModelStore(students.store)
    first, second = (
        export_variant(store, "fraud", "int8", tmp_path / name, options("ort"))
        for name in ("first", "second")
    )
    same = {"file": second.file, "memory": second.memory}
    assert first.model_copy(update=same) == second
    assert first.memory.run_bytes == second.memory.run_bytes
    assert first.file.bytes == pytest.approx(second.file.bytes, rel=0.01)


def test_samples_are_the_store_s_with_the_server_s_answers(tiny_store: str, out: Path) -> None:
    store = ModelStore(tiny_store)
    edge = export_variant(store, "fraud", "close", out, options(samples=10))
    requests = json.loads((out / SAMPLES).read_text())["requests"]
    rows = store.samples("fraud").rows(0, 10)
    assert len(requests) == 10
    for name, array in rows.items():
        found = [request["inputs"][name] for request in requests]
        np.testing.assert_array_equal(
            np.array(found, np.float32).view(np.int32), array.reshape(10, -1).view(np.int32)
        )
    expected = scores(rows, shift=0.01)
    answers = np.array([request["outputs"]["score"] for request in requests]).ravel()
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    alerts = [request["alert"] for request in requests]
    assert alerts == (answers >= edge.decision.threshold).tolist()
    assert {True, False} == set(alerts)


def test_no_more_samples_than_there_are(tiny_store: str, out: Path) -> None:
    export_variant(ModelStore(tiny_store), "fraud", "close", out, options(samples=10_000))
    assert len(json.loads((out / SAMPLES).read_text())["requests"]) == 64


def test_at_least_one_sample_is_needed(tiny_store: str, out: Path) -> None:
    with pytest.raises(ExportError, match="--samples is 0: expected at least 1"):
        export_variant(ModelStore(tiny_store), "fraud", "close", out, options(samples=0))
    assert _nothing_written(out)


def test_the_readme_tells_how_to_run_it(tiny_store: str, out: Path) -> None:
    edge = export_variant(ModelStore(tiny_store), "fraud", "close", out, options("ort"))
    text = (out / INSTRUCTIONS).read_text()
    assert 'create("model.ort")' in text
    assert '"history": new ort.Tensor("float32"' in text
    assert "[1, 3, 2])" in text
    assert f">= {edge.decision.threshold}" in text
    assert f"{edge.memory.peak_bytes:,} bytes" in text
    assert "Quality gate: passed." in text


def test_an_answer_of_several_values_is_left_to_the_app(tmp_path: Path, out: Path) -> None:
    """Classes or an embedding: what is decided of them is not one comparison."""
    uri = str(tmp_path / "store")
    samples = make_samples()
    classes = TensorSpec(name="score", datatype="FP32", shape=(-1, 4))
    document = make_document().model_copy(update={"outputs": (classes,)})
    graph = model_of(
        [helper.make_node("Softmax", ["transaction"], ["y"])],
        inputs={"transaction": (FLOAT, ["batch", 4])},
    )
    graph.graph.node[0].output[0] = graph.graph.output[0].name = "score"
    content = graph.SerializeToString()
    Publisher(uri).publish_model(document, samples)
    publish(Publisher(uri), "classes", content)
    export_variant(ModelStore(uri), "fraud", "classes", out, options())
    requests = json.loads((out / SAMPLES).read_text())["requests"]
    assert {request["alert"] for request in requests} == {None}
    found = np.array([request["outputs"]["score"] for request in requests])
    raw = np.exp(samples.inputs["transaction"][: len(found)])
    np.testing.assert_allclose(found, raw / raw.sum(axis=1, keepdims=True), rtol=1e-5)
    text = (out / INSTRUCTIONS).read_text()
    assert 'const values = answer["score"].data;' in text
    assert "const alert" not in text


@pytest.mark.parametrize("kind", FORMATS)
def test_figures_are_the_file_s_own(students: Students, out: Path, kind: FormatName) -> None:
    store = ModelStore(students.store)
    edge = export_variant(store, "fraud", "int8", out, options(kind))
    memory = edge.memory
    assert edge.precision == "int8"
    assert edge.file.bytes == (out / edge.file.path).stat().st_size
    assert memory.activations_bytes > 0
    assert 0 < memory.weights_bytes < edge.file.bytes
    assert memory.run_bytes == memory.weights_bytes + memory.activations_bytes
    assert memory.peak_bytes == max(memory.load_bytes, memory.run_bytes)
    assert "com.microsoft" in edge.opsets, "int8 products are the runtime's own operators"


def test_int8_needs_less_memory_than_float(students: Students, tmp_path: Path) -> None:
    store = ModelStore(students.store)
    exact, small = (
        export_variant(store, "fraud", variant, tmp_path / variant, options()).memory
        for variant in ("float", "int8")
    )
    assert small.weights_bytes < 0.7 * exact.weights_bytes


def test_a_failed_gate_is_refused(out: Path, tmp_path: Path) -> None:
    publisher = Publisher(str(tmp_path / "store"))
    publisher.publish_model(make_document(), make_samples())
    check = GateCheck(name="auc_ratio", value=0.9, bound=0.995, passed=False)
    fine = GateCheck(name="distinct_scores_ratio", value=1.0, bound=0.5, passed=True)
    manifest = make_manifest("poor", make_onnx(), [0.5]).model_copy(
        update={"gate": Gate(verdict="failed", checks=(check, fine))}
    )
    publisher.publish_variant(manifest, {"model.onnx": make_onnx()})
    with pytest.raises(ExportError) as raised:
        export_variant(ModelStore(str(tmp_path / "store")), "fraud", "poor", out, options())
    said = str(raised.value)
    assert (
        "the quality gate of 'poor' failed (auc_ratio is 0.9000, at least 0.995 is asked)" in said
    )
    assert "--allow-failed-gate" in said
    assert "distinct" not in said
    assert _nothing_written(out)


def test_an_allowed_failed_gate_is_told(tiny_store: str, out: Path) -> None:
    asked = options(allow_failed_gate=True)
    edge = export_variant(ModelStore(tiny_store), "fraud", "poor", out, asked)
    assert (edge.gate.verdict, edge.allowed_failed_gate) == ("failed", True)
    assert json.loads((out / EDGE_DOCUMENT).read_text())["allowed_failed_gate"] is True
    assert "Quality gate: **failed**" in (out / INSTRUCTIONS).read_text()


def test_allowing_a_failed_gate_changes_nothing_for_one_that_passed(
    tiny_store: str, out: Path
) -> None:
    asked = options(allow_failed_gate=True)
    edge = export_variant(ModelStore(tiny_store), "fraud", "close", out, asked)
    assert edge.allowed_failed_gate is False


def test_a_pytorch_program_is_refused_and_the_graph_of_its_family_named(
    tmp_path: Path, out: Path
) -> None:
    publisher = Publisher(str(tmp_path / "store"))
    publisher.publish_model(make_document(), make_samples())
    publish(publisher, "original", make_program(), engine="torch")
    store = ModelStore(str(tmp_path / "store"))
    with pytest.raises(ExportError, match=r"model\.pt2.*steps: \[onnx: \{\}\] to the recipe"):
        export_variant(store, "fraud", "original", out, options())
    publish(publisher, "small", make_onnx())
    with pytest.raises(ExportError, match="export small instead"):
        export_variant(store, "fraud", "original", out, options())
    same = make_manifest("original-onnx", make_onnx(), [0.5]).model_copy(
        update={"family": "original"}
    )
    publisher.publish_variant(same, {"model.onnx": make_onnx()})
    with pytest.raises(ExportError, match="export original-onnx instead"):
        export_variant(store, "fraud", "original", out, options())
    assert _nothing_written(out)


@pytest.mark.parametrize(("model", "variant"), [("fraud", "ghost"), ("loans", "close")])
def test_what_the_store_lacks_is_not_exported(
    tiny_store: str, out: Path, model: str, variant: str
) -> None:
    with pytest.raises(StoreUnavailableError, match=r"no (variant 'ghost'|model 'loans')"):
        export_variant(ModelStore(tiny_store), model, variant, out, options())
    assert _nothing_written(out)


@pytest.mark.parametrize("asked", [options(model_bytes=100), options(memory_bytes=100)])
def test_over_budget_nothing_is_written(tiny_store: str, out: Path, asked: ExportOptions) -> None:
    with pytest.raises(BudgetError, match=r"bytes, --max-(memory-)?bytes allows 100"):
        export_variant(ModelStore(tiny_store), "fraud", "close", out, asked)
    assert _nothing_written(out)


def test_a_budget_is_met_to_the_byte(tiny_store: str, tmp_path: Path) -> None:
    store = ModelStore(tiny_store)
    edge = export_variant(store, "fraud", "close", tmp_path / "a", options())
    size, memory = edge.file.bytes, edge.memory.peak_bytes
    asked = options(model_bytes=size, memory_bytes=memory)
    export_variant(store, "fraud", "close", tmp_path / "b", asked)
    for less in (
        options(model_bytes=size - 1),
        options(memory_bytes=memory - 1),
    ):
        with pytest.raises(BudgetError, match=f"{size:,}|{memory:,}"):
            export_variant(store, "fraud", "close", tmp_path / "c", less)
    assert not (tmp_path / "c").exists()


def test_a_folder_that_is_there_is_an_error(tiny_store: str, out: Path) -> None:
    store = ModelStore(tiny_store)
    export_variant(store, "fraud", "close", out, options())
    before = _content(out)
    with pytest.raises(ExportError, match="is there already: give another --out, or say --replace"):
        export_variant(store, "fraud", "opposite", out, options())
    assert _content(out) == before
    export_variant(store, "fraud", "opposite", out, options("ort", replace=True))
    assert "model.onnx" not in _content(out)
    assert json.loads(_content(out)[EDGE_DOCUMENT])["variant"] == "opposite"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_replace_touches_nothing_but_exports(tiny_store: str, out: Path, kind: str) -> None:
    out.parent.mkdir()
    if kind == "file":
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match=r"no exported folder \(it has no edge.json\)"):
        export_variant(ModelStore(tiny_store), "fraud", "close", out, options(replace=True))
    assert (out if kind == "file" else out / "thesis.txt").read_text() == "precious"


class Killed(BaseException):
    """Stands for a signal."""


@pytest.mark.parametrize("written", [0, 1, 3])
def test_an_interrupted_export_leaves_what_was_there(
    tiny_store: str, out: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    store = ModelStore(tiny_store)
    write, calls = Path.write_bytes, [0]

    def killed(path: Path, content: bytes) -> int:
        calls[0] += 1
        if calls[0] > written:
            raise Killed
        return write(path, content)

    def interrupted(asked: Any) -> None:
        calls[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", killed)
            with pytest.raises(Killed):
                export_variant(store, "fraud", "opposite", out, asked)

    interrupted(options())
    assert _nothing_written(out)
    export_variant(store, "fraud", "close", out, options())
    before = _content(out)
    interrupted(options(replace=True))
    assert _content(out) == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_conversion_that_changes_scores_is_refused(
    tiny_store: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(type(FORMATS["onnx"])):  # type: ignore[misc]
        def write(self, model: bytes) -> bytes:
            return make_onnx(shift=0.5)

    monkeypatch.setattr(export, "FORMATS", {"onnx": Wrong()})
    with pytest.raises(ExportError, match=r"another 'score' for sample 0: 0\.\d+ apart"):
        export_variant(ModelStore(tiny_store), "fraud", "close", out, options())
    assert _nothing_written(out)


def test_a_variant_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = build_store(tmp_path / "store")
    store, load, loads = ModelStore(uri), ModelStore.load, [0]

    def replaced_after_loading(self: ModelStore, model: str, variant: str) -> Any:
        files = load(self, model, variant)
        loads[0] += 1
        if loads[0] == 1:
            manifest = make_manifest("close", make_onnx(shift=0.3), [0.5])
            publisher = Publisher(uri)
            publisher.publish_variant(manifest, {"model.onnx": make_onnx(shift=0.3)}, replace=True)
        return files

    monkeypatch.setattr(ModelStore, "load", replaced_after_loading)
    edge = export_variant(store, "fraud", "close", out, options())
    assert (out / "model.onnx").read_bytes() == make_onnx(shift=0.3)
    assert edge.source.manifest_sha256 == store.manifest_sha256("fraud", "close")


def test_an_input_that_the_graph_does_not_take_is_left_out(tmp_path: Path, out: Path) -> None:
    uri = build_store(tmp_path / "store")
    document = ModelStore(uri).model("fraud")
    spare = document.inputs[0].model_copy(update={"name": "spare"})
    samples = make_samples()
    samples.inputs["spare"] = samples.inputs["transaction"]  # type: ignore[index]
    more = document.model_copy(update={"inputs": (*document.inputs, spare)})
    Publisher(uri).publish_model(more, samples)
    edge = export_variant(ModelStore(uri), "fraud", "close", out, options())
    assert [spec.name for spec in edge.inputs] == ["transaction", "history"]
    assert "spare" not in (out / SAMPLES).read_text()


def test_an_input_that_the_model_s_document_lacks_is_named(tmp_path: Path, out: Path) -> None:
    uri = build_store(tmp_path / "store")
    document = ModelStore(uri).model("fraud")
    less = document.model_copy(update={"inputs": document.inputs[:1]})
    Publisher(uri).publish_model(less, make_samples())
    with pytest.raises(ExportError, match=r"takes history, which model\.json does not list"):
        export_variant(ModelStore(uri), "fraud", "close", out, options())


def test_what_is_no_onnx_model_is_refused(tmp_path: Path, out: Path) -> None:
    uri = build_store(tmp_path / "store")
    manifest = make_manifest("odd", b"\xff" * 50, [0.5])
    Publisher(uri).publish_variant(manifest, {"model.onnx": b"\xff" * 50})
    with pytest.raises(ExportError, match="the artifact is no ONNX model"):
        export_variant(ModelStore(uri), "fraud", "odd", out, options())
