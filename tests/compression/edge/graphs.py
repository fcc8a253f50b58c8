"""Small ONNX models: one node each, or as many as a test asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Constants = Mapping[str, npt.NDArray[Any]]

FLOAT = TensorProto.FLOAT


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: Constants | Sequence[onnx.TensorProto] = (),
    *,
    inputs: Mapping[str, tuple[int, Sequence[int | str]]] | None = None,
    output: tuple[int, Sequence[int | str] | None] = (FLOAT, None),
    opset: int = 20,
    ir_version: int = 10,
    domains: Sequence[tuple[str, int]] = (),
) -> onnx.ModelProto:
    """A model that takes `x` float[batch, 4] unless told otherwise and gives `y`."""
    if isinstance(constants, Mapping):
        constants = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    taken = inputs or {"x": (FLOAT, ["batch", 4])}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *spec) for name, spec in taken.items()],
        [helper.make_tensor_value_info("y", *output)],
        constants,
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*d) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = ir_version
    return model


def node(op: str, reads: Sequence[str], makes: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node of ONNX's own domain."""
    return helper.make_node(op, reads, [makes], name=f"the {op}", **attributes)


def contrib(
    op: str, reads: Sequence[str], constants: Constants | None = None, **attributes: Any
) -> onnx.ModelProto:
    """One node of com.microsoft whose input `x` is float[batch, 4]."""
    made = helper.make_node(
        op, reads, ["y"], name=f"the {op}", domain="com.microsoft", **attributes
    )
    return model_of([made], constants or {}, domains=[("com.microsoft", 1)])


def quantised(op: str, reads: Sequence[str], constants: Constants, **attributes: Any) -> Any:
    """One node of com.microsoft between QuantizeLinear to `q` and DequantizeLinear of `r`."""
    scales: Constants = {"scale": _f(0.02), "zero": _u(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node(op, reads, ["r"], name=f"the {op}", domain="com.microsoft", **attributes),
        helper.make_node("DequantizeLinear", ["r", "scale", "zero"], ["y"]),
    ]
    return model_of(nodes, {**scales, **constants}, domains=[("com.microsoft", 1)])


def _f(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def _u(value: int) -> npt.NDArray[np.uint8]:
    return np.array(value, np.uint8)


def _square(kind: type[Any] = np.float32) -> npt.NDArray[Any]:
    return np.ones((4, 4), kind)


def contrib_models() -> dict[str, onnx.ModelProto]:
    """A model for each operator of com.microsoft that an export may hold, by operator."""
    bias, scale, zero = np.ones(4, np.float32), _f(0.02), _u(0)
    one: Constants = {"scale": scale, "zero": zero}
    weight: Constants = {"w": _square(np.int8), "ws": _f(0.1), "wz": np.array(0, np.int8)}
    pair = ["q", "scale", "zero"]
    packed = np.full((4, 1, 8), 0x99, np.uint8)
    return {
        "BiasGelu": contrib("BiasGelu", ["x", "b"], {"b": bias}),
        "FastGelu": contrib("FastGelu", ["x", "b"], {"b": bias}),
        "Gelu": contrib("Gelu", ["x"]),
        "QuickGelu": contrib("QuickGelu", ["x"]),
        "FusedGemm": contrib(
            "FusedGemm", ["x", "w", "b"], {"w": _square(), "b": bias}, activation="Relu"
        ),
        "FusedMatMul": contrib("FusedMatMul", ["x", "w"], {"w": _square()}, alpha=0.5),
        "SkipLayerNormalization": contrib(
            "SkipLayerNormalization", ["x", "x", "g", "b"], {"g": bias, "b": bias}
        ),
        "DynamicQuantizeMatMul": contrib(
            "DynamicQuantizeMatMul", ["x", "w", "ws", "wz", "b"], {**weight, "b": bias}
        ),
        "MatMulNBits": contrib(
            "MatMulNBits", ["x", "w", "ws"], {"w": packed, "ws": np.ones(4, np.float32)},
            K=4, N=4, bits=4, block_size=16,
        ),
        "QuantizeLinear": model_of(
            [
                helper.make_node("QuantizeLinear", ["x", "scale", "wide"], ["q"],
                                 name="the QuantizeLinear", domain="com.microsoft"),
                helper.make_node("DequantizeLinear", ["q", "scale", "wide"], ["y"],
                                 name="the DequantizeLinear", domain="com.microsoft"),
            ],
            {"scale": scale, "wide": np.array(0, np.uint16)},
            domains=[("com.microsoft", 1)],
        ),
        "DequantizeLinear": model_of(
            [
                helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"],
                                 name="the DequantizeLinear", domain="com.microsoft"),
            ],
            one,
            domains=[("com.microsoft", 1)],
        ),
        "MatMulIntegerToFloat": model_of(
            [
                helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                helper.make_node(
                    "MatMulIntegerToFloat", ["q", "w", "scale", "ws", "zero", "wz"], ["y"],
                    name="the MatMulIntegerToFloat", domain="com.microsoft",
                ),
            ],
            {**one, **weight},
            domains=[("com.microsoft", 1)],
        ),
        "QGemm": quantised(
            "QGemm",
            ["q", "scale", "zero", "w", "ws", "wz", "b", "scale", "zero"],
            {**weight, "b": np.ones(4, np.int32)},
        ),
        "QLinearAdd": quantised("QLinearAdd", [*pair, *pair, "scale", "zero"], {}),
        "QLinearMul": quantised("QLinearMul", [*pair, *pair, "scale", "zero"], {}),
        "QLinearConcat": quantised("QLinearConcat", ["scale", "zero", *pair, *pair], {}, axis=1),
        "QLinearSigmoid": quantised("QLinearSigmoid", [*pair, "scale", "zero"], {}),
        "QLinearLeakyRelu": quantised("QLinearLeakyRelu", [*pair, "scale", "zero"], {}),
        "QLinearSoftmax": quantised(
            "QLinearSoftmax", [*pair, "scale", "zero"], {}, axis=-1, opset=20
        ),
    }  # fmt: skip
