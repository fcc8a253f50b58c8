from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression.edge.formats import FORMATS, FormatName
from compression.errors import ExportError
from compression.graphs.inspect import INTEGER_KERNELS, integer_kernels
from compression.graphs.session import open_session, run
from compression.store import ModelStore
from tests.compression.edge.graphs import FLOAT, model_of, node
from tests.compression.edge.students import Students


def _model(students: Students, variant: str) -> bytes:
    return ModelStore(students.store).load("fraud", variant).artifact


def test_each_format_has_its_file() -> None:
    assert {name: kind.file for name, kind in FORMATS.items()} == {
        "onnx": "model.onnx",
        "ort": "model.ort",
    }


@pytest.mark.parametrize("variant", ["float", "int8"])
def test_onnx_is_the_store_s_file(students: Students, variant: str) -> None:
    model = _model(students, variant)
    assert FORMATS["onnx"].write(model) == FORMATS["onnx"].executed(model) == model


@pytest.mark.parametrize("variant", ["float", "int8"])
def test_ort_opens_and_scores_the_same(students: Students, variant: str) -> None:
    model, rows = _model(students, variant), students.samples.rows(0, 200)
    written = FORMATS["ort"].write(model)
    assert written[4:8] == b"ORTM"
    expected, found = (run(open_session(content), rows) for content in (model, written))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_int8_is_fused_to_integer_kernels_in_the_ort_file(students: Students) -> None:
    """Nobody fuses it later: the runtime does not optimise this format again."""
    executed = onnx.load_from_string(FORMATS["ort"].executed(_model(students, "int8")))
    kernels = sum(item.op_type in INTEGER_KERNELS for item in executed.graph.node)
    assert kernels == integer_kernels(_model(students, "int8")) >= 5


@pytest.mark.parametrize("name", FORMATS)
def test_executed_tells_what_the_file_holds(students: Students, name: FormatName) -> None:
    kind, model = FORMATS[name], _model(students, "float")
    nodes = onnx.load_from_string(kind.executed(model)).graph.node
    written = kind.write(model)
    for item in nodes:
        assert item.op_type.encode() in written


def test_an_operator_without_a_kernel_is_refused() -> None:
    model = model_of(
        [
            node("Cast", ["x"], "a", to=TensorProto.BFLOAT16),
            node("Sin", ["a"], "b"),
            helper.make_node("Cast", ["b"], ["y"], to=FLOAT),
        ],
        opset=22,
    )
    with pytest.raises(ExportError, match=r"kernels cannot run this model: .*Sin.*another variant"):
        FORMATS["ort"].write(model.SerializeToString())
