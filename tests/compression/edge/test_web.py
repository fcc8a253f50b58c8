"""Exported models in onnxruntime-web's WebAssembly, beside the server that they came from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression.edge.compatibility import (
    CONTRIB,
    ELEMENT_TYPES,
    IR_VERSIONS,
    OPSETS,
    WEB_VERSION,
)
from compression.edge.document import INSTRUCTIONS, EdgeDocument
from compression.edge.export import export_variant
from compression.edge.formats import FORMATS as FORMATS_BY_NAME
from compression.edge.formats import FormatName
from compression.edge.memory import memory_of
from compression.edge.optimiser import optimised
from compression.store import ModelStore
from tests.compression.edge.asked import options
from tests.compression.edge.graphs import FLOAT, contrib_models, model_of, node
from tests.compression.edge.students import ALERT_SHARE, SAMPLE_ROWS, Students
from tests.support.web import HERE, Comparison, MissingNodeError, WebRuntime, compare

FORMATS: tuple[FormatName, ...] = ("onnx", "ort")
RUNTIME_BYTES = 10_000_000
"""Of the WebAssembly heap, what the runtime needs without any model."""
SWAPPED = "swapped"
"""The float student's folder with the int8 model in it."""


def _exported(
    students: Students, variant: str, kind: FormatName, out: Path, samples: int = SAMPLE_ROWS
) -> EdgeDocument:
    store = ModelStore(students.store)
    return export_variant(store, "fraud", variant, out, options(kind, samples))


@pytest.fixture(scope="module")
def compared(
    web: WebRuntime, students: Students, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Comparison]:
    """Every student in every format, beside the server."""
    folder = tmp_path_factory.mktemp("exports")
    for variant in ("float", "int8", "reader", "reader-int8"):
        for kind in FORMATS:
            _exported(students, variant, kind, folder / f"{variant}-{kind}")
    shutil.copytree(folder / "float-onnx", folder / SWAPPED)
    shutil.copy(folder / "int8-onnx" / "model.onnx", folder / SWAPPED)
    folders = sorted(folder.iterdir())
    found = compare(web, folders, students.store)
    return {path.name: comparison for path, comparison in zip(folders, found, strict=True)}


@pytest.mark.parametrize("variant", ["float", "reader"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_float_student_scores_as_on_the_server(
    compared: dict[str, Comparison], variant: str, kind: FormatName
) -> None:
    found = compared[f"{variant}-{kind}"]
    assert found.rows == SAMPLE_ROWS >= 1000
    assert found.max_difference <= 1e-4
    assert found.equal_decisions >= 0.999
    assert found.alerts == pytest.approx(ALERT_SHARE * SAMPLE_ROWS, rel=0.1)


@pytest.mark.parametrize("variant", ["int8", "reader-int8"])
@pytest.mark.parametrize("kind", FORMATS)
def test_an_int8_student_decides_as_on_the_server(
    compared: dict[str, Comparison], variant: str, kind: FormatName
) -> None:
    found = compared[f"{variant}-{kind}"]
    assert found.rows == SAMPLE_ROWS >= 1000
    assert found.equal_decisions >= 0.999
    assert found.alerts == pytest.approx(ALERT_SHARE * SAMPLE_ROWS, rel=0.1)


def test_the_comparison_sees_another_model(compared: dict[str, Comparison]) -> None:
    assert compared[SWAPPED].max_difference > 1e-4


@pytest.mark.parametrize("kind", FORMATS)
def test_the_readme_s_javascript_decides_as_the_samples_say(
    web: WebRuntime, students: Students, out: Path, kind: FormatName
) -> None:
    edge = _exported(students, "float", kind, out, samples=60)
    (code,) = re.findall(r"```js\n(.*?)```", (out / INSTRUCTIONS).read_text(), re.DOTALL)
    opening, answering = code.split("const answer")
    script = HERE / "node_modules" / f"readme-{kind}.mjs"
    script.write_text(
        f"""
        import {{ readFileSync }} from "node:fs";
        process.chdir(process.argv[2]);
        globalThis.fetch = async (name) => new Response(readFileSync(name));  // the app's server
        {opening}
        const {{ requests }} = JSON.parse(readFileSync("{edge.samples.path}"));
        const alerts = [];
        for (const request of requests) {{
            const answer {answering}
            alerts.push(alert);
        }}
        process.stdout.write(JSON.stringify(alerts));
        """
    )
    alerts = json.loads(web.script(script, out))
    samples = json.loads((out / edge.samples.path).read_text())["requests"]
    assert alerts == [request["alert"] for request in samples]
    assert set(alerts) == {True, False}


@pytest.fixture(scope="module")
def problems(web: WebRuntime, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What became of every model below in WebAssembly: the error by its name, None if it ran."""
    folder = tmp_path_factory.mktemp("models")
    for name, model in {**contrib_models(), **_versions(), **_types()}.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    found = web.probe(folder).problems
    return {file.removesuffix(".onnx"): problem for file, problem in found.items()}


def _versions() -> dict[str, onnx.ModelProto]:
    first, last = OPSETS[""][0], OPSETS[""][-1]
    classical = OPSETS["ai.onnx.ml"][-1]
    return {
        "opset before": _add(opset=first - 1),
        "opset first": _add(opset=first),
        "opset last": _add(opset=last),
        "opset after": _add(opset=last + 1),
        "classical last": _add(domains=[("ai.onnx.ml", classical)]),
        "classical after": _add(domains=[("ai.onnx.ml", classical + 1)]),
        "file first": _add(ir_version=IR_VERSIONS[0]),
        "file last": _add(ir_version=IR_VERSIONS[-1]),
        "file after": _add(ir_version=IR_VERSIONS[-1] + 1),
    }


def _add(**versions: Any) -> onnx.ModelProto:
    return model_of([node("Add", ["x", "x"])], **versions)


def _types() -> dict[str, onnx.ModelProto]:
    """A matrix product in each type, float at both ends."""
    return {
        f"type {kind}": model_of(
            [
                node("Cast", ["x"], "a", to=element),
                node("MatMul", ["a", "w"], "b"),
                helper.make_node("Cast", ["b"], ["y"], to=FLOAT),
            ],
            [helper.make_tensor("w", element, [4, 4], [1.0] * 16)],
        )
        for kind, element in TensorProto.DataType.items()
        if kind in {"FLOAT", "FLOAT16", "DOUBLE", "INT32", "BFLOAT16", "FLOAT8E4M3FN"}
    }


def test_every_contrib_operator_that_may_be_exported_runs(
    problems: dict[str, str | None],
) -> None:
    models = contrib_models()
    assert set(models) == CONTRIB
    for operator, model in models.items():
        assert f"the {operator}" in {item.name for item in model.graph.node}
        assert problems[operator] is None


def test_versions_end_where_loading_fails(problems: dict[str, str | None]) -> None:
    refused = {name for name in _versions() if problems[name] is not None}
    assert refused == {"opset before", "opset after", "classical after", "file after"}


def test_types_are_allowed_that_have_kernels(problems: dict[str, str | None]) -> None:
    for name in _types():
        element = TensorProto.DataType.Value(name.removeprefix("type "))
        assert (problems[name] is None) is (element in ELEMENT_TYPES), name


def _product(layers: int, width: int) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(layers, width, width)).astype(np.float32)
    names = ["x", *(f"h{layer}" for layer in range(layers - 1)), "y"]
    return model_of(
        [
            helper.make_node("MatMul", [names[layer], f"w{layer}"], [names[layer + 1]])
            for layer in range(layers)
        ],
        {f"w{layer}": weights[layer] for layer in range(layers)},
        inputs={"x": (FLOAT, ["batch", width])},
    )


def _outer(width: int) -> onnx.ModelProto:
    """Two values of width × width floats are alive at once, and no weight is."""
    return model_of(
        [
            node("Transpose", ["x"], "column"),
            node("MatMul", ["column", "x"], "square"),
            node("Sin", ["square"], "sines"),
            node("ReduceSum", ["sines"], keepdims=0),
        ],
        inputs={"x": (FLOAT, [1, width])},
    )


@pytest.mark.parametrize(
    ("model", "kind"),
    [(_product(1, 1999), "ort"), (_product(8, 790), "onnx"), (_outer(2000), "onnx")],
    ids=["one large weight", "many weights", "large activations"],
)
def test_the_memory_of_the_document_is_what_the_heap_grows_by(
    web: WebRuntime, tmp_path: Path, model: onnx.ModelProto, kind: FormatName
) -> None:
    content = FORMATS_BY_NAME[kind].write(model.SerializeToString())
    width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    row = {"x": np.ones((1, width), np.float32)}
    memory = memory_of(optimised(model.SerializeToString(), "ONNX"), len(content), row)
    (tmp_path / f"model.{kind}").write_bytes(content)
    probe = web.probe(tmp_path)
    assert set(probe.problems.values()) == {None}
    needed = RUNTIME_BYTES + memory.peak_bytes
    assert memory.peak_bytes > 20e6
    assert 0.8 * needed <= probe.heap_bytes <= 1.25 * needed


def test_the_pinned_version_is_the_one_checked_against() -> None:
    package = json.loads((HERE / "package.json").read_text())
    lock = json.loads((HERE / "package-lock.json").read_text())
    assert package["dependencies"] == {"onnxruntime-web": WEB_VERSION}
    assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == WEB_VERSION
    assert "http" not in (HERE / "package-lock.json").read_text(), "hosts are the user's choice"


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_a_missing_node_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    for present in {"node", "npm"} - {missing}:
        (tmp_path / present).write_text("#!/bin/sh\n")
        (tmp_path / present).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingNodeError, match=f"{missing} is not installed.*nodejs npm"):
        WebRuntime.install()
