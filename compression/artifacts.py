"""From a chain's end to what is published: the file, its scores, its latency, its threshold."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt
import torch

from compression.chains import Chain
from compression.graphs.export import EXAMPLE_ROWS, to_program
from compression.graphs.inspect import (
    countable_flops,
    flops_per_row,
    graph_parameters,
    integer_kernels,
)
from compression.graphs.session import open_session, run, scores_of
from compression.store.archive import check_program_archive, strip_sample_inputs
from compression.techniques.candidate import parameter_count
from compression.techniques.context import Context
from compression.training.rows import Inputs
from compression.training.scoring import Floats, Report, outputs_of
from compression.workloads.base import Rows, Workload


@dataclass(frozen=True)
class Artifact:
    """A file that a runtime opens, and how to score with it here."""

    chain: Chain
    engine: Literal["torch", "onnxruntime"]
    file: str
    content: bytes
    parameters: int
    flops_per_row: int | None
    integer_kernels: int

    @classmethod
    def of(cls, chain: Chain, context: Context) -> Artifact:
        """Export the chain's module if it has no graph yet; the original stays a torch program."""
        candidate, workload = chain.candidate, context.workload
        if candidate.imported:
            return cls._imported(chain)
        example = workload.gather(workload.validation[:EXAMPLE_ROWS])
        float_graph = context.float_graph(candidate.module)
        torch_program = not chain.steps
        graph = candidate.onnx or float_graph
        return cls(
            chain,
            "torch" if torch_program else "onnxruntime",
            "model.pt2" if torch_program else "model.onnx",
            to_program(candidate.module, example) if torch_program else graph,
            parameter_count(candidate.module),
            flops_per_row(float_graph),
            0 if torch_program else integer_kernels(graph),
        )

    @classmethod
    def _imported(cls, chain: Chain) -> Artifact:
        graph = chain.candidate.onnx or b""
        return cls(
            chain,
            "onnxruntime",
            "model.onnx",
            graph,
            graph_parameters(graph),
            countable_flops(graph),
            integer_kernels(graph),
        )

    def scores(self, workload: Workload, rows: Rows, workers: int, report: Report) -> Floats:
        """Scores float32[len(rows)], using `workers` cores."""
        if self.engine == "onnxruntime":
            return scores_of(self.content, workload.gather, rows, workers=workers, report=report)
        module = self.chain.candidate.module
        return outputs_of(module, workload.gather, rows, workers=workers, report=report)

    def caller(self) -> Callable[[Inputs], Floats]:
        """One inference with the published file, as a server would run it on one thread."""
        return open_artifact(self.engine, self.content)


def open_artifact(
    engine: Literal["torch", "onnxruntime"], content: bytes
) -> Callable[[Inputs], Floats]:
    """One inference with a published file, as a server would run it on one thread.

    Raises:
        CorruptArtifactError: a torch program holds more than tensors and a graph.
    """
    if engine == "onnxruntime":
        session = open_session(content)
        return lambda inputs: run(session, inputs)
    check_program_archive(content)
    program = torch.export.load(io.BytesIO(strip_sample_inputs(content))).module()
    return lambda inputs: _call_program(program, inputs)


def _call_program(program: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
    with torch.inference_mode():
        output = program(*(torch.from_numpy(array) for array in inputs.values()))
    scores: Floats = output.numpy()
    return scores
