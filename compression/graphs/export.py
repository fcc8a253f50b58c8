"""Export a PyTorch module, as ONNX or as a PyTorch program."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import onnx
import torch

from compression.errors import TechniqueError
from compression.models.scorer import Scorer
from compression.store.archive import strip_sample_inputs
from compression.tracing import TRACING

MAX_BATCH_ROWS = 65_536
EXAMPLE_ROWS = 3


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn about their own innards; none of it concerns the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _example(inputs: Mapping[str, npt.NDArray[np.float32]]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array[:EXAMPLE_ROWS].copy()) for array in inputs.values())


def _dynamic(inputs: Sequence[object]) -> dict[str, tuple[dict[int, torch.export.Dim], ...]]:
    """The first dimension of each of a Scorer's `*inputs`."""
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH_ROWS)
    return {"inputs": tuple({0: batch} for _ in inputs)}


def to_onnx(module: Scorer, inputs: Mapping[str, npt.NDArray[np.float32]], output: str) -> bytes:
    """ONNX file of `module` with a variable batch; `inputs` are example rows (≥ 3) by name.

    Raises:
        TechniqueError: the exported graph is not a valid ONNX model.
    """
    example = _example(inputs)
    with TRACING.alone(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            external_data=False,
            dynamic_shapes=_dynamic(example),
            input_names=list(inputs),
            output_names=[output],
            verbose=False,
        )
    if program is None:
        raise TechniqueError("the ONNX exporter gave no program")
    return tidied(program.model_proto)


def tidied(model: onnx.ModelProto) -> bytes:
    """Drop stack traces and intermediate shapes: a third of a small model, and no use to serve.

    The quantiser also trips over stale intermediate shapes.
    """
    graph = model.graph
    del graph.value_info[:]
    del model.metadata_props[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def to_program(module: Scorer, inputs: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """PyTorch program (.pt2) of `module` with a variable batch, without sample inputs."""
    example = _example(inputs)
    buffer = io.BytesIO()
    with TRACING.alone(), _quiet(), torch.no_grad():
        program = torch.export.export(module.eval(), example, dynamic_shapes=_dynamic(example))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine, and nobody's business
        torch.export.save(program, buffer)
    return strip_sample_inputs(buffer.getvalue())
