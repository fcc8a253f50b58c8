"""Is the graph what its method says? Asked of the runtime, which is free to fall back to float."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import onnx

from compression.errors import TechniqueError
from compression.graphs.inspect import INTEGER_KERNELS, optimised
from compression.quantisation.products import Product

_RENAMED = re.compile(r"(_quant|_Q[48]|_token_\d+)$")
"""What quantisers and the runtime append to the name of a product they replace."""


def check_integer(graph: bytes, meant: Sequence[Product], method: str) -> int:
    """Integer kernels left after ONNX Runtime's optimisation: at least one for each product meant.

    Raises:
        TechniqueError: a silent fallback to fp32; names the layers that stayed float.
    """
    if not meant:
        raise TechniqueError(
            f"quantize ({method}) left no integer kernel in the graph: it has no MatMul, Gemm or "
            "Conv by a constant weight, or float_layers keeps all of them in float"
        )
    kernels = [node for node in optimised(graph).node if node.op_type in INTEGER_KERNELS]
    found = {_RENAMED.sub("", node.name) for node in kernels}
    floats = [product.name for product in meant if product.name not in found]
    if floats or len(kernels) < len(meant):
        named = ", ".join(floats) if floats else "which ones cannot be told by their names"
        raise TechniqueError(
            f"quantize ({method}) meant {len(meant)} products to be integer, after ONNX Runtime's "
            f"optimisation {len(kernels)} are; these stayed float: {named}. This build of ONNX "
            "Runtime cannot fuse them: leave them in float (float_layers), or use another method"
        )
    return len(kernels)


def check_folded(graph: bytes, float_graph: bytes) -> None:
    """Weights stored as fp16 must be fp32 before the first request: no Cast may be left on them.

    Raises:
        TechniqueError: names the weights still cast, or the kernels that differ from fp32's.
    """
    loaded = optimised(graph)
    constants = {tensor.name for tensor in loaded.initializer}
    cast = [
        node.input[0]
        for node in loaded.node
        if node.op_type == "Cast" and node.input[0] in constants
    ]
    if cast:
        raise TechniqueError(
            "quantize (fp16_weights): ONNX Runtime casts these weights at every request instead "
            f"of once: {', '.join(cast)}; this build does not fold constants, use another method"
        )
    kernels, expected = (
        Counter(n.op_type for n in g.node) for g in (loaded, optimised(float_graph))
    )
    if kernels != expected:
        raise TechniqueError(
            "quantize (fp16_weights): after optimisation the kernels are not those of fp32: "
            f"{dict(kernels - expected)} instead of {dict(expected - kernels)}"
        )


def check_half(graph: bytes, meant: Sequence[Product]) -> None:
    """Every product meant has an fp16 weight.

    Raises:
        TechniqueError: names the products whose weights are not.
    """
    halves = {
        tensor.name
        for tensor in onnx.load_from_string(graph).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT16
    }
    floats = [product.name for product in meant if product.weight not in halves]
    if floats or not meant:
        raise TechniqueError(
            f"quantize (fp16) meant {len(meant)} products to be fp16; these have no fp16 weight: "
            f"{', '.join(floats) or 'the model has no product by a constant weight'}"
        )
