"""`import`: a step whose content is a file's, checked on validation rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compression.artifacts import Artifact
from compression.chains import Chain
from compression.errors import ForeignGraphError, TechniqueError
from compression.graphs.foreign import width
from compression.models.scorer import Opaque
from compression.recipe import ChainConfig, parsed_steps
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.imported import Import, ImportOptions, check_scores
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.reports import Reports


def _file(folder: Path, workload: FraudWorkload, last: str = "Sigmoid", scale: float = 0.1) -> Path:
    """A linear model of the flattened inputs."""
    weights = np.full((width(workload.inputs), 1), scale, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["logit"]),
            helper.make_node(last, ["logit"], ["score"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "theirs.onnx"
    onnx.save(model, path)
    return path


def _options(path: Path, recipe: Path | None = None) -> ImportOptions:
    chain = ChainConfig(steps=({"import": {"file": str(path)}},))
    ((_, options),) = parsed_steps(str(recipe or path.parent / "recipe.yaml"), "theirs", chain)
    assert isinstance(options, ImportOptions)
    return options


def _import(path: Path, candidate: Candidate, context: Context) -> Candidate:
    return Import().apply(candidate, _options(path), context, Reports())


@pytest.fixture
def imported(tmp_path: Path, candidate: Candidate, context: Context) -> Candidate:
    return _import(_file(tmp_path, context.workload), candidate, context)  # type: ignore[arg-type]


def test_a_file_becomes_a_candidate_without_a_module(imported: Candidate, context: Context) -> None:
    assert imported.imported
    assert imported.precision == "fp32"
    assert len(imported.notes[0]["sha256"]) == 64
    assert imported.seconds[0] > 0
    with pytest.raises(TechniqueError, match="an imported ONNX file has no PyTorch module"):
        imported.module(torch.zeros(1))
    assert isinstance(imported.module, Opaque)


def test_it_is_kept_as_other_steps_are(
    imported: Candidate, tmp_path: Path, tiny_workload: FraudWorkload
) -> None:
    imported.save(tmp_path / "step")
    loaded = Candidate.load(tmp_path / "step", tiny_workload)
    assert loaded is not None
    assert loaded.imported
    assert (loaded.onnx, loaded.notes, loaded.precision) == (
        imported.onnx, imported.notes, imported.precision,
    )  # fmt: skip


def test_its_artifact_is_measured_from_the_graph(imported: Candidate, context: Context) -> None:
    chain = Chain("theirs", None, "imported", (), imported, "0" * 64)
    artifact = Artifact.of(chain, context)
    features = width(context.workload.inputs)
    assert (artifact.engine, artifact.file) == ("onnxruntime", "model.onnx")
    assert (artifact.parameters, artifact.flops_per_row) == (features, 2 * features)
    rows = context.workload.test[:7]
    scores = artifact.scores(context.workload, rows, 1, Reports())
    np.testing.assert_array_equal(artifact.caller()(context.workload.gather(rows)), scores)


def test_the_path_is_relative_to_the_recipe_and_the_step_to_the_content(
    tmp_path: Path, tiny_workload: FraudWorkload
) -> None:
    path = _file(tmp_path, tiny_workload)
    (tmp_path / "recipes").mkdir()
    options = _options(Path("../theirs.onnx"), tmp_path / "recipes" / "recipe.yaml")
    assert options.read() == path.read_bytes()
    assert options.model_dump(mode="json") == {"file": "../theirs.onnx"}
    before = options.identity()
    path.rename(tmp_path / "renamed.onnx")
    assert _options(tmp_path / "renamed.onnx").identity() == before
    _file(tmp_path, tiny_workload, scale=0.2)
    assert options.identity() != before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ForeignGraphError, match=r"cannot read .*/none\.onnx: No such file"):
        _options(tmp_path / "none.onnx").read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, r"scores each of .* validation rows 0\.5: was it trained on one class"),
        ({"last": "Identity"}, r"gives scores from .*, expected probabilities from 0 to 1"),
        ({"last": "Sqrt", "scale": -1.0}, r"scores of validation rows are not finite"),
    ],
)
def test_scores_that_cannot_be_judged_are_refused(
    tmp_path: Path,
    candidate: Candidate,
    context: Context,
    tiny_workload: FraudWorkload,
    changes: dict[str, Any],
    message: str,
) -> None:
    path = _file(tmp_path, tiny_workload, **changes)
    with pytest.raises(ForeignGraphError, match=message):
        _import(path, candidate, context)


def test_only_probabilities_have_to_be_between_0_and_1() -> None:
    vectors = np.array([[-3.0, 4.0]], np.float32)
    check_scores(vectors, False, "their.onnx")
    with pytest.raises(ForeignGraphError, match="from -3 to 4"):
        check_scores(vectors, True, "their.onnx")
