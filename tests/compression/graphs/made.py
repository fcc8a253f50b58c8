"""ONNX files made by hand, which takes no exporter."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def stand_in(parameters: int) -> bytes:
    """For the fraud workload's inputs: as large as a model of so many parameters, and scores."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["transaction", "axis"], ["mean"], keepdims=0),
            helper.make_node("Sigmoid", ["mean"], ["score"]),
        ],
        "stand_in",
        [
            helper.make_tensor_value_info("transaction", kind, ["n", 20]),
            helper.make_tensor_value_info("history", kind, ["n", 8, 7]),
        ],
        [helper.make_tensor_value_info("score", kind, ["n"])],
        [
            numpy_helper.from_array(np.ones(1, np.int64), "axis"),
            numpy_helper.from_array(np.zeros(parameters, np.float32), "weights"),
        ],
    )
    return _checked(graph)


def perceptron(inputs: int, hidden: int) -> bytes:
    """x float32[n, inputs] → score float32[n, 1] by way of one hidden layer."""
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w1", (inputs, hidden)), ("w2", (hidden, 1)))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "w2"], ["score"]),
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        weights,
    )
    return _checked(graph)


def _checked(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
