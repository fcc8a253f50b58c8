from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from compression.edge.memory import memory_of, value_bytes
from compression.edge.optimiser import optimised
from compression.store import ModelStore
from tests.compression.edge.graphs import FLOAT, model_of, node
from tests.compression.edge.students import Students

Rows = dict[str, npt.NDArray[Any]]
ROW: Rows = {"x": np.ones((1, 4), np.float32)}


def _two_layers() -> onnx.ModelProto:
    """float[1, 4] → 4 × 100 → 100 × 2."""
    return model_of(
        [
            node("MatMul", ["x", "wide"], "hidden"),
            node("Sin", ["hidden"], "bent"),
            helper.make_node("MatMul", ["bent", "narrow"], ["y"]),
        ],
        {"wide": np.ones((4, 100), np.float32), "narrow": np.ones((100, 2), np.float32)},
    )


def test_a_small_graph_counted_by_hand() -> None:
    graph = _two_layers().SerializeToString()
    memory = memory_of(graph, len(graph), ROW)
    assert memory.weights_bytes == 4 * (4 * 100 + 100 * 2) == 2400
    assert memory.activations_bytes == 4 * (100 + 100)
    assert memory.fullest_node == "the Sin"
    assert memory.load_bytes == len(graph) + 2 * 2400 + 4 * 4 * 100
    assert memory.run_bytes == 2400 + 800
    assert memory.peak_bytes == memory.load_bytes
    assert "estimate" in memory.method


def test_running_may_take_more_than_loading() -> None:
    graph = model_of(
        [
            node("Transpose", ["x"], "column"),
            node("MatMul", ["column", "x"], "square"),
            helper.make_node("ReduceSum", ["square"], ["y"], keepdims=0),
        ],
        inputs={"x": (FLOAT, [1, 300])},
    ).SerializeToString()
    memory = memory_of(graph, len(graph), {"x": np.ones((1, 300), np.float32)})
    assert memory.weights_bytes == 0
    assert memory.peak_bytes == memory.run_bytes == 4 * (300 * 300 + 2 * 300)


def test_sizes_follow_types() -> None:
    model = model_of(
        [
            node("Cast", ["x"], "halves", to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["halves"], ["bytes"], to=TensorProto.UINT8),
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["bytes"], ["y"], to=FLOAT),
        ]
    )
    assert value_bytes(model, ROW) == {"x": 16, "halves": 8, "bytes": 4, "shape": 16, "y": 16}


def test_int4_weights_count_half_a_byte() -> None:
    weight = helper.make_tensor("w", TensorProto.UINT4, [4, 4], [1] * 16)
    raw = onnx.TensorProto(name="w", data_type=TensorProto.UINT4, dims=[4, 4], raw_data=bytes(8))
    for stored in (weight, raw):
        model = model_of(
            [
                node("DequantizeLinear", ["w", "scale"], "floats"),
                node("MatMul", ["x", "floats"]),
            ],
            [stored, helper.make_tensor("scale", FLOAT, [], [0.1])],
            opset=21,
        )
        memory = memory_of(model.SerializeToString(), 0, ROW)
        assert memory.weights_bytes == 8 + 4


def test_sizes_are_those_that_the_runtime_s_profiler_sees(
    students: Students, tmp_path: Path
) -> None:
    """The oracle is ONNX Runtime's own profile of a run of the same graph."""
    store = ModelStore(students.store)
    for variant in ("float", "int8"):
        graph = onnx.load_from_string(optimised(store.load("fraud", variant).artifact, "ONNX"))
        row = students.samples.rows(0, 1)
        found = value_bytes(graph, row)
        made = {
            name: sum(found[value] for value in item.output if value)
            for item in graph.graph.node
            if (name := item.name)
        }
        profiled = _profiled(graph, row, tmp_path / variant)
        assert set(profiled) == set(made)
        assert {name: made[name] for name in profiled} == profiled


def _profiled(graph: onnx.ModelProto, row: Rows, prefix: Path) -> dict[str, int]:
    """Output bytes by node."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    session = ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    session.run(None, row)
    events = json.loads(Path(session.end_profiling()).read_text())
    return {
        event["name"].removesuffix("_kernel_time"): int(event["args"]["output_size"])
        for event in events
        if event["name"].endswith("_kernel_time")
    }
