"""Write ranges into a graph: integer kernels for linear layers, Q/DQ pairs around convolutions.

A Conv has an integer kernel only with an integer output; a ReLU behind it becomes the lower end of
that output's range. The pairs are onnxruntime's to place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorData,
    TensorsData,
)

from compression.graphs.export import tidied
from compression.quantisation.kernels import KernelWriter
from compression.quantisation.options import QuantisationOptions
from compression.quantisation.products import Product, in_order, without_unread
from compression.quantisation.ranges import Range

RECTIFIERS = ("Relu", "Clip")


def ranged_tensors(model: onnx.ModelProto, products: Sequence[Product]) -> list[str]:
    """Tensors whose ranges `with_integers` needs to quantise these products."""
    convolved = [product.output for product in products if product.op_type == "Conv"]
    rectified = [node.output[0] for node in _rectifiers(model, products)]
    return [*(product.input for product in products), *convolved, *rectified]


def with_integers(
    model: onnx.ModelProto,
    products: Sequence[Product],
    ranges: Mapping[str, Range],
    options: QuantisationOptions,
) -> bytes:
    """The graph with these products quantised, all others float. `model` is left as it is.

    Products are MatMul or Conv, see `products.with_matmul`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    convolutions = [product for product in products if product.op_type == "Conv"]
    if convolutions:
        copy = _with_pairs(copy, convolutions, ranges, options)
    KernelWriter(copy, ranges, options).write(
        [product for product in products if product.op_type == "MatMul"]
    )
    return tidied(in_order(without_unread(copy)))


def _with_pairs(
    model: onnx.ModelProto,
    convolutions: Sequence[Product],
    ranges: Mapping[str, Range],
    options: QuantisationOptions,
) -> onnx.ModelProto:
    names = [product.name for product in convolutions]
    names += [node.name for node in _rectifiers(model, convolutions)]
    quantizer = QDQQuantizer(
        model,
        per_channel=options.per_channel,
        reduce_range=options.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=tensors_data(ranges),
        nodes_to_quantize=names,
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", *RECTIFIERS],
        extra_options={},
    )
    quantizer.quantize_model()
    quantised: onnx.ModelProto = quantizer.model.model
    return quantised


def tensors_data(ranges: Mapping[str, Range]) -> TensorsData:
    """Ranges as onnxruntime's quantisers take them."""
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
            for name, (low, high) in ranges.items()
        },
    )


def _rectifiers(model: onnx.ModelProto, products: Sequence[Product]) -> Iterator[onnx.NodeProto]:
    """Nodes behind a convolution that only cut it off at zero, or at zero and above."""
    convolved = {product.output for product in products if product.op_type == "Conv"}
    zeros = {
        tensor.name
        for tensor in model.graph.initializer
        if not tensor.dims and not numpy_helper.to_array(tensor).any()
    }
    for node in model.graph.node:
        if node.op_type not in RECTIFIERS or node.input[0] not in convolved:
            continue
        if node.op_type == "Relu" or (len(node.input) > 1 and node.input[1] in zeros):
            yield node
