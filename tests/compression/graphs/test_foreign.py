"""ONNX files from elsewhere: what goes in and comes out of them, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression.errors import ForeignGraphError
from compression.graphs.foreign import adapt, flattened, width
from compression.graphs.inspect import countable_flops, graph_parameters
from compression.graphs.session import open_session, run
from compression.store import TensorSpec
from tests.support.store import make_onnx, make_samples, scores

INPUTS = (
    TensorSpec(name="transaction", datatype="FP32", shape=(-1, 4)),
    TensorSpec(name="history", datatype="FP32", shape=(-1, 3, 2)),
)
OUTPUT = TensorSpec(name="score", datatype="FP32", shape=(-1,))
ROWS = make_samples().rows(0, 5)
WEIGHTS = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE

Array = npt.NDArray[Any]


def _matrix(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    shape: Sequence[Any] = (None, 10),
    kind: int = FLOAT,
    weights: Array = WEIGHTS,
    opset: int = 13,
) -> onnx.ModelProto:
    """A model of one matrix `x` with a constant `w`."""
    graph = helper.make_graph(
        list(nodes),
        "foreign",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        list(outputs),
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _value(name: str, kind: int = FLOAT, shape: Sequence[Any] = (None, 1)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _linear(**changes: Any) -> onnx.ModelProto:
    """sigmoid(x · w) as [n, 1]."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    return _matrix(nodes, [_value("score", changes.get("kind", FLOAT))], **changes)


def _adapt(model: onnx.ModelProto | bytes) -> bytes:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return adapt(content, INPUTS, OUTPUT, ROWS, "their.onnx")


def _expected() -> Array:
    logits = (flattened(ROWS) @ WEIGHTS)[:, 0]
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_rows_are_flattened_in_the_workload_s_order() -> None:
    assert width(INPUTS) == 10
    np.testing.assert_array_equal(flattened(ROWS)[:, :4], ROWS["transaction"])
    np.testing.assert_array_equal(flattened(ROWS)[:, 4:6], ROWS["history"][:, 0])


def test_a_matrix_model_takes_the_workload_s_inputs() -> None:
    graph = _adapt(_linear())
    session = open_session(graph)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("transaction", ["batch", 4]), ("history", ["batch", 3, 2]),
    ]  # fmt: skip
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("score", ["batch"])]
    np.testing.assert_allclose(run(session, ROWS), _expected(), rtol=1e-5)
    one = {name: array[:1] for name, array in ROWS.items()}
    np.testing.assert_allclose(run(session, one), _expected()[:1], rtol=1e-5)


def test_doubles_are_cast_on_both_sides() -> None:
    graph = _adapt(_linear(kind=DOUBLE, weights=WEIGHTS.astype(np.float64)))
    np.testing.assert_allclose(run(open_session(graph), ROWS), _expected(), rtol=1e-5)


def test_a_model_of_the_workload_s_own_inputs_is_taken_as_it_is() -> None:
    graph = _adapt(make_onnx(shift=0.3))
    np.testing.assert_allclose(run(open_session(graph), ROWS), scores(ROWS, shift=0.3), rtol=1e-5)


def _two_columns(label: int | None = None) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p1"]),
        helper.make_node("Neg", ["logit"], ["other"]),
        helper.make_node("Sigmoid", ["other"], ["p0"]),
        helper.make_node("Concat", ["p0", "p1"], ["probabilities"], axis=1),
    ]
    outputs = [_value("probabilities", shape=(None, 2))]
    if label is not None:
        nodes.append(helper.make_node("Cast", ["p1"], ["label"], to=label))
        outputs.insert(0, _value("label", label))
    return _matrix(nodes, outputs)


@pytest.mark.parametrize("label", [None, TensorProto.INT64, TensorProto.STRING])
def test_of_two_columns_the_second_is_the_score_and_a_label_is_left_out(label: int | None) -> None:
    graph = _adapt(_two_columns(label))
    assert len(open_session(graph).get_outputs()) == 1
    np.testing.assert_allclose(run(open_session(graph), ROWS), _expected(), rtol=1e-5)


def test_names_of_the_file_s_own_tensors_do_not_matter() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["history"]),
        helper.make_node("Sigmoid", ["history"], ["transaction"]),
    ]
    graph = _adapt(_matrix(nodes, [_value("transaction")]))
    np.testing.assert_allclose(run(open_session(graph), ROWS), _expected(), rtol=1e-5)


def _stump() -> onnx.ModelProto:
    """One split: feature 2 at 0.25, leaves 0.1 and 0.9; operators of trees alone."""
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["score"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[2, 0, 0],
        nodes_values=[0.25, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], nodes_hitrates=[1.0, 1.0, 1.0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0],
        target_weights=[0.1, 0.9],
    )  # fmt: skip
    graph = helper.make_graph([node], "stump", [_value("x", shape=(None, 10))], [_value("score")])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )


def test_trees_run_and_their_numbers_are_counted() -> None:
    graph = _adapt(_stump())
    expected = np.where(ROWS["transaction"][:, 2] <= 0.25, 0.1, 0.9)
    np.testing.assert_allclose(run(open_session(graph), ROWS), expected, rtol=1e-6)
    assert graph_parameters(graph) == 5, "three thresholds and two leaves"
    assert countable_flops(graph) is None


def test_weights_of_a_linear_model_are_counted() -> None:
    graph = _adapt(_linear())
    assert graph_parameters(graph) == 10
    assert countable_flops(graph) == 20


def _external() -> onnx.ModelProto:
    model = _linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def _external_in_a_node() -> onnx.ModelProto:
    constant = numpy_helper.from_array(WEIGHTS, "inner")
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    nodes = [
        helper.make_node("Constant", [], ["v"], value=constant),
        helper.make_node("MatMul", ["x", "v"], ["score"]),
    ]
    return _matrix(nodes, [_value("score")])


def _zipmap() -> onnx.ModelProto:
    model = _two_columns()
    node = helper.make_node(
        "ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    model.graph.node.append(node)
    value = onnx.ValueInfoProto(name="maps")
    value.type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    value.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = FLOAT
    del model.graph.output[:]
    model.graph.output.append(value)
    return model


def _with_node(kind: str, domain: str = "") -> onnx.ModelProto:
    model = _matrix([helper.make_node(kind, ["x"], ["score"], domain=domain)], [_value("score")])
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def _three_classes() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["score"])]
    return _matrix(nodes, [_value("score", shape=(None, 3))], weights=np.ones((10, 3), np.float32))


def _two_scores() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["one"]),
        helper.make_node("Sigmoid", ["one"], ["two"]),
    ]
    return _matrix(nodes, [_value("one"), _value("two")])


def _other_inputs() -> onnx.ModelProto:
    model = _linear()
    model.graph.input.append(_value("y", shape=(None, 3)))
    return model


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (b"", r"not an ONNX file, or has no graph: 0 bytes"),
    "a text": (b"<html>no model</html>", r"is not an ONNX file"),
    "half a file": (_linear().SerializeToString()[:-40], r"is not an ONNX file"),
    "external data": (_external(), r"'w' lie in another file; .* save_as_external_data=False"),
    "external constant": (_external_in_a_node(), r"'inner' lie in another file"),
    "ZipMap": (_zipmap(), r"'maps' is a list of dictionaries .* options=\{'zipmap': False\}"),
    "unknown operator": (_with_node("Fraudulate"), r"ONNX Runtime cannot run it: .*Fraudulate"),
    "custom domain": (_with_node("Op", "acme"), r"domain 'acme' do not come with ONNX Runtime"),
    "wrong width": (_linear(shape=(None, 7)), r"\['n', 7\], expected \['n', 10\]: train"),
    "open width": (_linear(shape=(None, None)), r"\['n', -1\], expected \['n', 10\]"),
    "fixed batch": (_linear(shape=(1, 10)), r"takes 1 rows at a time, .* \(None\)"),
    "integers": (_linear(kind=TensorProto.INT32), r"INT32, expected FLOAT: .* FloatTensorType"),
    "old operators": (_linear(opset=8), r"of version 8, at least 9 is needed"),
    "three classes": (_three_classes(), r"gives \['n', 3\] for n rows, expected \['n'\] \(or"),
    "two scores": (_two_scores(), r"outputs are one float32, two float32; expected one"),
    "other inputs": (_other_inputs(), r"inputs are x, y; expected transaction\[-1, 4\], history"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_a_variant_is_refused_with_what_to_do(kind: str) -> None:
    model, message = REFUSED[kind]
    with pytest.raises(ForeignGraphError, match=message) as caught:
        _adapt(model)
    assert str(caught.value).startswith("their.onnx")


def test_the_score_of_a_multi_class_workload_keeps_its_classes() -> None:
    output = TensorSpec(name="classes", datatype="FP32", shape=(-1, 3))
    content = _three_classes().SerializeToString()
    graph = adapt(content, INPUTS, output, ROWS, "their.onnx")
    assert run(open_session(graph), ROWS).shape == (5, 3)
    with pytest.raises(ForeignGraphError, match=r"gives \['n', 1\] for n rows, expected"):
        adapt(_linear().SerializeToString(), INPUTS, output, ROWS, "their.onnx")
