"""What a model adds to its runtime's memory while it is loaded and while it runs, one row a call.

Counted on the graph as the runtime executes it:

* loading holds the file, the weights twice (parsed, then the session's own) and the largest weight
  once more, while it is packed for the matrix product: at most, for freed memory is used again;
* running holds the weights, and the most activations alive at once.

The activations' sizes are read off one real run of one row, every intermediate value of it; which
of them are alive together is a walk over the graph (`compression.edge.liveness`).

Not counted: the runtime itself (its code, and about 10 MB of heap before any model), what kernels
use while they run, and what the allocator rounds up. Measured in the WebAssembly build, whose heap
grows by fifths: the heap is 0.8 to 1.25 times 10 MB plus this figure. The tests hold it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from compression.edge.document import Memory
from compression.edge.liveness import Step, peak

METHOD = (
    "estimate for one row a call, on top of the runtime's own memory: while loading, the file, the "
    "weights twice and the largest weight once more; while running, the weights and the most "
    "activations alive at once (sizes of a real run, liveness walk over the optimised graph)"
)

Feed = Mapping[str, npt.NDArray[Any]]


def memory_of(graph: bytes, file_bytes: int, row: Feed) -> Memory:
    """The memory of a model whose optimised ONNX graph is `graph` and whose file has `file_bytes`.

    `row` is one row by input name, batch dimension 1.
    """
    model = onnx.load_from_string(graph)
    weights = [_stored_bytes(tensor) for tensor in model.graph.initializer]
    fullest = peak(_steps(model.graph), value_bytes(model, row), list(row), _outputs(model.graph))
    load = file_bytes + 2 * sum(weights) + max(weights, default=0)
    run = sum(weights) + fullest.bytes
    return Memory(
        peak_bytes=max(load, run),
        load_bytes=load,
        run_bytes=run,
        weights_bytes=sum(weights),
        activations_bytes=fullest.bytes,
        fullest_node=fullest.step,
        method=METHOD,
    )


def value_bytes(model: onnx.ModelProto, row: Feed) -> dict[str, int]:
    """Size in bytes of every input and of every value that a node makes, from one run."""
    every = onnx.ModelProto()
    every.CopyFrom(model)
    outputs = _outputs(model.graph)
    names = [name for node in model.graph.node for name in node.output if name]
    every.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
    options = ort.SessionOptions()
    # It is optimised already, and what a node makes must not be optimised away.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        every.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = session.run(names, dict(row))
    made = {name: np.asarray(value).nbytes for name, value in zip(names, values, strict=True)}
    return {name: array.nbytes for name, array in row.items()} | made


def _steps(graph: onnx.GraphProto) -> list[Step]:
    return [
        Step(
            node.name or f"{node.op_type} of {node.output[0]}",
            tuple(name for name in node.input if name),
            tuple(name for name in node.output if name),
        )
        for node in graph.node
    ]


def _outputs(graph: onnx.GraphProto) -> set[str]:
    return {value.name for value in graph.output}


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    """As the runtime holds it: two int4 to a byte."""
    elements = math.prod(int(size) for size in tensor.dims)
    if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        return (elements + 1) // 2
    return elements * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
