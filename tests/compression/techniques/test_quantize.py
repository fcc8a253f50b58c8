from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression.errors import TechniqueError
from compression.graphs.inspect import integer_kernels
from compression.graphs.session import scores_of
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.techniques.quantize import (
    CalibrationRows,
    Quantize,
    QuantizeOptions,
)
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.techniques.reports import Reports


def _scores(graph: bytes, workload: FraudWorkload) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    scores = scores_of(graph, workload.gather, workload.test[:2000], workers=1)
    return scores.reshape(-1)


def _graph(candidate: Candidate) -> bytes:
    assert candidate.onnx is not None
    return candidate.onnx


def test_the_graph_is_int8_and_the_notes_say_so(quantized: Candidate) -> None:
    assert quantized.precision == "int8"
    kernels = integer_kernels(_graph(quantized))
    assert kernels >= 8
    assert quantized.notes[-1]["integer_kernels"] == kernels
    assert quantized.notes[-1]["method"] in {"dynamic", "static"}
    assert quantized.seconds[-1] > 0


def test_weights_are_stored_as_bytes(quantized: Candidate, tiny_graph: bytes) -> None:
    tensors = onnx.load_from_string(_graph(quantized)).graph.initializer
    integer = [t for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) == 2]
    assert len(integer) >= 8
    assert max(len(t.dims) for t in tensors if t.data_type == TensorProto.FLOAT) <= 3


def test_scores_stay_near_the_float_ones_and_distinct(
    quantized: Candidate, tiny_graph: bytes, tiny_workload: FraudWorkload
) -> None:
    exact, rough = (_scores(graph, tiny_workload) for graph in (tiny_graph, _graph(quantized)))
    assert np.abs(rough - exact).mean() < 0.02
    assert np.corrcoef(rough, exact)[0, 1] > 0.995
    assert not np.array_equal(rough, exact)
    assert len(np.unique(rough)) > 0.9 * len(np.unique(exact))


def test_the_last_layer_stays_float(quantized: Candidate) -> None:
    graph = onnx.load_from_string(_graph(quantized)).graph
    floats = {t.name: list(t.dims) for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    products = [node for node in graph.node if node.op_type in {"MatMul", "Gemm"}]
    last = products[-1]
    (weight,) = (name for name in last.input if name in floats and len(floats[name]) == 2)
    assert sorted(floats[weight]) == [1, 16]


def test_the_module_is_kept_for_what_is_counted_on_it(
    candidate: Candidate, quantized: Candidate
) -> None:
    assert quantized.module is candidate.module
    assert candidate.onnx is None


def test_calibration_rows_come_from_the_training_window(shared_context: Context) -> None:
    drawn = list(iter(CalibrationRows(shared_context, 70).get_next, None))
    assert [len(batch["transaction"]) for batch in drawn] == [32, 32, 6]
    workload = shared_context.workload
    training = {row.tobytes() for row in workload.gather(workload.train)["transaction"]}
    assert all(row.tobytes() in training for batch in drawn for row in batch["transaction"])


def test_calibration_takes_no_more_rows_than_there_are(
    shared_context: Context, tiny_workload: FraudWorkload
) -> None:
    class Short:
        train = tiny_workload.train[:5]
        gather = staticmethod(tiny_workload.gather)

    context = dataclasses.replace(shared_context, workload=Short())  # type: ignore[arg-type]
    (batch,) = iter(CalibrationRows(context, 70).get_next, None)
    assert len(batch["history"]) == 5


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
    options = QuantizeOptions.model_validate({"method": method, "calibration_rows": 8})
    with pytest.raises(TechniqueError, match=rf"quantize \({method}\) left no integer kernel"):
        Quantize().apply(candidate, options, context, Reports())
