"""Which graphs are refused, and whether the message says where and what to do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression.edge.compatibility import require_runnable
from compression.errors import ExportError
from compression.store import TensorSpec
from compression.store.manifest import Datatype
from tests.compression.edge.graphs import FLOAT, contrib, contrib_models, model_of, node

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 4))


def _add(**versions: int) -> onnx.ModelProto:
    return model_of([node("Add", ["x", "x"])], **versions)  # type: ignore[arg-type]


def _weight(element: int) -> onnx.ModelProto:
    nodes = [node("Cast", ["w"], "v", to=FLOAT), node("Add", ["x", "v"])]
    return model_of(nodes, [helper.make_tensor("w", element, [4], [1.0] * 4)])


def _external() -> onnx.ModelProto:
    model = model_of([node("Add", ["x", "w"])], {"w": np.ones(4, np.float32)})
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    return model


def _branch() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("z", FLOAT, None)
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "body", [], [value])
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return model_of([node("If", ["yes"], then_branch=body, else_branch=body)], [yes])


def _foreign() -> onnx.ModelProto:
    made = helper.make_node("Fancy", ["x"], ["y"], name="the Fancy", domain="com.example")
    return model_of([made], domains=[("com.example", 1)])


def _constant() -> onnx.ModelProto:
    held = helper.make_tensor("held", TensorProto.BFLOAT16, [4], [1.0] * 4)
    return model_of([node("Constant", [], "c", value=held), node("Cast", ["c"], to=FLOAT)])


def _local(inside: onnx.NodeProto) -> onnx.ModelProto:
    """The same domain, but the model brings the operator's definition."""
    model = _foreign()
    model.functions.append(
        helper.make_function(
            "com.example", "Fancy", ["x"], ["y"], [inside], [helper.make_opsetid("", 20)]
        )
    )
    return model


@pytest.mark.parametrize("model", [_add(), *contrib_models().values()])
def test_what_runs_passes(model: onnx.ModelProto) -> None:
    require_runnable(model, [X])


def test_a_model_that_brings_its_own_operator_passes() -> None:
    require_runnable(_local(helper.make_node("Sin", ["x"], ["y"])), [X])


@pytest.mark.parametrize(
    ("model", "where", "advice"),
    [
        (_add(opset=6), "opset 6 of ai.onnx, allowed are 7 to 26", "onnx.version_converter"),
        (_add(opset=27), "opset 27 of ai.onnx, allowed are 7 to 26", "export the model with"),
        (_add(ir_version=14), "IR version is 14, allowed are 3 to 13", "`ir_version` set to"),
        (
            model_of([node("Add", ["x", "x"])], domains=[("com.microsoft", 2)]),
            "opset 2 of com.microsoft, allowed are 1 to 1",
            "export the model with",
        ),
        (contrib("Rfft", ["x"]), "node 'the Rfft' (Rfft) is of com.microsoft", "export as onnx"),
        (_foreign(), "node 'the Fancy' (Fancy) is of the domain 'com.example'", "by operators"),
        (
            _local(helper.make_node("Cast", ["x"], ["y"], name="c", to=TensorProto.BFLOAT16)),
            "node 'c' (Cast) casts to bfloat16",
            "fp32 or int8 variant",
        ),
        (_external(), "weight 'w' lies in another file", "with its weights inside"),
        (_weight(TensorProto.BFLOAT16), "weight 'w' is bfloat16", "fp32 or int8 variant"),
        (_weight(TensorProto.FLOAT8E5M2), "weight 'w' is float8e5m2", "fp32 or int8 variant"),
        (_constant(), "weight 'c' is bfloat16", "fp32 or int8 variant"),
        (_branch(), "node 'the If' (If) runs another graph", "unroll it"),
    ],
)  # fmt: skip
def test_what_would_fail_is_named(model: onnx.ModelProto, where: str, advice: str) -> None:
    with pytest.raises(ExportError, match=r"^onnxruntime-web 1\.30\.0 .* cannot run") as raised:
        require_runnable(model, [X])
    assert where in str(raised.value)
    assert advice in str(raised.value)


@pytest.mark.parametrize("datatype", ["FP16", "BYTES"])
def test_tensors_without_an_array_in_javascript_are_refused(datatype: Datatype) -> None:
    spec = TensorSpec(name="score", datatype=datatype, shape=(-1,))
    with pytest.raises(ExportError, match=f"'score' is {datatype}, which JavaScript .* cast it"):
        require_runnable(_add(), [spec])


def test_a_second_variable_dimension_is_refused() -> None:
    spec = TensorSpec(name="history", datatype="FP32", shape=(-1, -1, 7))
    with pytest.raises(ExportError, match=r"'history' has the shape \[-1, -1, 7\].* fix it"):
        require_runnable(_add(), [spec])


def test_every_problem_is_told_at_once() -> None:
    model = _external()
    model.opset_import[0].version = 30
    model.graph.node.append(node("Fancy", ["x"], "z"))
    model.graph.node[-1].domain = "com.example"
    with pytest.raises(ExportError) as raised:
        require_runnable(model, [X.model_copy(update={"datatype": "FP16"})])
    for part in ("opset 30", "'x' is FP16", "weight 'w'", "node 'the Fancy'"):
        assert part in str(raised.value)
