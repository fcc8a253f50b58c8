from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from pydantic import ValidationError

from compression.errors import DataError, TechniqueError
from compression.graphs.inspect import integer_kernels
from compression.graphs.session import scores_of
from compression.quality.gate import GateConfig
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.quantize import Quantize, QuantizeOptions
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.conftest import quantised_by
from tests.compression.techniques.reports import Reports

LENIENT = GateConfig(
    average_precision_ratio=0.5, average_precision_ratio_low=None, auc_ratio=None,
    distinct_scores_ratio=0.5,
)  # fmt: skip


def _scores(graph: bytes, workload: FraudWorkload) -> np.ndarray[Any, np.dtype[np.float32]]:
    return scores_of(graph, workload.gather, workload.test[:2000], workers=1)


def _graph(candidate: Candidate) -> bytes:
    assert candidate.onnx is not None
    return candidate.onnx


def test_the_graph_is_int8_and_the_notes_say_so(quantized: Candidate) -> None:
    assert quantized.precision == "int8"
    kernels = integer_kernels(_graph(quantized))
    assert kernels >= 8
    assert quantized.notes[-1]["integer_kernels"] == kernels
    assert quantized.notes[-1]["method"] in {"dynamic", "static", "qat"}
    assert quantized.seconds[-1] > 0


def test_all_int8_methods_have_as_many_integer_kernels(
    int8: Candidate, int8_static: Candidate, int8_trained: Candidate
) -> None:
    made = (int8, int8_static, int8_trained)
    assert len({integer_kernels(_graph(candidate)) for candidate in made}) == 1


def test_weights_are_stored_as_bytes(quantized: Candidate) -> None:
    tensors = onnx.load_from_string(_graph(quantized)).graph.initializer
    integer = [t for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) == 2]
    assert len(integer) >= 8
    assert max(len(t.dims) for t in tensors if t.data_type == TensorProto.FLOAT) <= 3


def test_scores_stay_near_the_float_ones_and_distinct(
    quantized: Candidate, tiny_graph: bytes, tiny_workload: FraudWorkload
) -> None:
    exact, rough = (_scores(graph, tiny_workload) for graph in (tiny_graph, _graph(quantized)))
    assert np.abs(rough - exact).mean() < 0.02
    assert np.corrcoef(rough, exact)[0, 1] > 0.98
    assert not np.array_equal(rough, exact)
    assert len(np.unique(rough)) > 0.9 * len(np.unique(exact))


def test_the_last_layer_stays_float(quantized: Candidate) -> None:
    graph = onnx.load_from_string(_graph(quantized)).graph
    floats = {t.name: list(t.dims) for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    products = [node for node in graph.node if node.op_type in {"MatMul", "Gemm"}]
    last = products[-1]
    (weight,) = (name for name in last.input if name in floats and len(floats[name]) == 2)
    assert sorted(floats[weight]) == [1, 16]


@pytest.mark.parametrize("made", ["int8_static", "int8_trained"])
def test_a_row_s_score_is_its_own(
    request: pytest.FixtureRequest, made: str, tiny_workload: FraudWorkload
) -> None:
    candidate: Candidate = request.getfixturevalue(made)
    rows = tiny_workload.test[:64]
    gather, graph = tiny_workload.gather, _graph(candidate)
    alone = np.concatenate([scores_of(graph, gather, row, workers=1) for row in rows[:, None]])
    np.testing.assert_allclose(alone, scores_of(graph, gather, rows, workers=1), atol=1e-6)


def test_the_module_is_kept_unless_it_was_trained(
    candidate: Candidate, int8: Candidate, int8_static: Candidate, int8_trained: Candidate
) -> None:
    assert int8.module is int8_static.module is candidate.module
    before, after = candidate.module.state_dict(), int8_trained.module.state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["body.embed_history.weight"], after["body.embed_history.weight"])
    assert int8_trained.notes[-1]["training_seconds"] > 0
    assert candidate.onnx is None


def test_a_trained_candidate_reads_back(
    int8_trained: Candidate, tiny_workload: FraudWorkload, tmp_path: Path
) -> None:
    int8_trained.save(tmp_path / "step")
    back = Candidate.load(tmp_path / "step", tiny_workload)
    assert back is not None
    assert (back.onnx, back.notes) == (int8_trained.onnx, int8_trained.notes)
    states = (back.module.state_dict(), int8_trained.module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("options", "precision", "smaller"),
    [
        ({"method": "weight_only", "bits": 8, "block_size": 16}, "int8", 0.8),
        ({"method": "weight_only", "bits": 4, "block_size": 16}, "int4", 0.75),
        ({"method": "fp16"}, "fp16", 0.95),
        ({"method": "fp16_weights"}, "fp16", 0.95),
    ],
    ids=["int8 weights", "int4 weights", "fp16", "fp16 weights"],
)
def test_other_precisions(
    candidate: Candidate,
    shared_context: Context,
    tiny_graph: bytes,
    tiny_workload: FraudWorkload,
    options: dict[str, Any],
    precision: str,
    smaller: float,
) -> None:
    made = quantised_by(candidate, shared_context, **options)
    assert made.precision == precision
    assert len(_graph(made)) < smaller * len(tiny_graph)
    exact, rough = (_scores(graph, tiny_workload) for graph in (tiny_graph, _graph(made)))
    assert np.corrcoef(rough, exact)[0, 1] > 0.99
    assert len(np.unique(rough)) > 0.9 * len(np.unique(exact))


def test_auto_is_static_where_that_holds_the_gate(
    candidate: Candidate, shared_context: Context
) -> None:
    made = quantised_by(
        candidate, replace(shared_context, gate=LENIENT), method="auto", calibration_rows=200
    )
    notes = made.notes[-1]
    assert (notes["method"], notes["chosen"]) == ("auto", "static")
    assert [(one["method"], one["gate"]) for one in notes["tried"]] == [("static", "passed")]
    assert made.module is candidate.module


def test_auto_trains_where_static_misses_the_gate(
    candidate: Candidate, shared_context: Context
) -> None:
    impossible = GateConfig(average_precision_ratio=9.0, auc_ratio=9.0)
    made = quantised_by(
        candidate, replace(shared_context, gate=impossible), method="auto", calibration_rows=200,
        batch_rows=64, max_positives=150, negatives_per_positive=1, pool_negatives=2_000,
    )  # fmt: skip
    tried = made.notes[-1]["tried"]
    assert [one["method"] for one in tried] == ["static", "qat"]
    assert all("auc_ratio" in " ".join(one["missed"]) for one in tried)
    assert made.notes[-1]["chosen"] in {"static", "qat"}


def test_a_calibration_set_off_the_training_window_is_refused(
    candidate: Candidate, context: Context, tmp_path: Path
) -> None:
    inputs = dict(context.workload.gather(context.workload.train[:300]))
    inputs["transaction"] = inputs["transaction"] * 1000
    path = tmp_path / "thousandths.npz"
    np.savez(path, **inputs)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"thousandths\.npz is off the .* input 'transaction'"):
        quantised_by(candidate, context, calibration=str(path))
    np.savez(path, **{name: array[:0] for name, array in inputs.items()})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="is empty"):
        quantised_by(candidate, context, calibration=str(path))


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"method": "static", "bits": 4}, "bits"),
        ({"method": "static", "epochs": 3}, "epochs"),
        ({"method": "static", "output_error": 0.1}, "output_error"),
        ({"method": "static", "percentile": 99.0}, "percentile"),
        ({"method": "dynamic", "calibration_rows": 9, "percentile": 99}, "calibration_rows, perc"),
        ({"method": "weight_only", "per_channel": False}, "per_channel"),
        ({"method": "fp16_weights", "float_layers": 2}, "float_layers"),
    ],
)
def test_options_of_no_effect_are_refused(options: dict[str, Any], idle: str) -> None:
    with pytest.raises(ValidationError, match=f"of no effect here, leave it out: {idle}"):
        QuantizeOptions.model_validate(options)


def test_options_that_count_are_taken() -> None:
    auto = {"method": "auto", "float_layers": "auto", "output_error": 0.1, "epochs": 3}
    percentile = {"calibration_method": "percentile", "percentile": 99.0}
    options = QuantizeOptions.model_validate(auto | percentile)
    assert (options.epochs, options.percentile, options.listens_to_gate) == (3, 99.0, True)
    assert not QuantizeOptions().listens_to_gate


def test_a_calibration_file_counts_by_its_content(tmp_path: Path) -> None:
    identities = []
    for name, content in (("a.npz", b"one"), ("b.npz", b"one"), ("c.npz", b"two")):
        path = tmp_path / name
        path.write_bytes(content)
        identities.append(QuantizeOptions(calibration=str(path)).identity())
    assert identities[0] == identities[1] != identities[2]
    assert QuantizeOptions().identity() == QuantizeOptions().model_dump()


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_a_graph_without_products_cannot_be_int8(
    candidate: Candidate, context: Context, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    inputs = [
        helper.make_tensor_value_info("transaction", TensorProto.FLOAT, ["n", 20]),
        helper.make_tensor_value_info("history", TensorProto.FLOAT, ["n", 8, 7]),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["transaction"], ["a"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["history"], ["b"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["a", "b"], ["score"]),
    ]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(nodes, "no products", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    monkeypatch.setattr(Context, "float_graph", lambda *_: model.SerializeToString())
    options = QuantizeOptions.model_validate({"method": method})
    with pytest.raises(TechniqueError, match=rf"quantize \({method}\) (left no|needs a MatMul)"):
        Quantize().apply(candidate, options, context, Reports())
