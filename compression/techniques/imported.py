"""`import`: a finished ONNX file from elsewhere, e.g. gradient boosting, starts a chain."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx import TensorProto
from pydantic import PrivateAttr

from compression.errors import ForeignGraphError
from compression.graphs.export import EXAMPLE_ROWS
from compression.graphs.foreign import adapt, tensors
from compression.graphs.inspect import integer_kernels
from compression.graphs.session import scores_of
from compression.heads import Binary
from compression.models.scorer import Opaque
from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate, Precision, Template
from compression.techniques.context import Context
from compression.training.scoring import Floats, Report

TRIED_ROWS = 2_000
"""Validation rows that are scored before anything else is done with a file."""


class ImportOptions(Options):
    """Which file; its path is relative to the recipe's folder."""

    file: Path
    _folder: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        """Take the recipe's folder from the validation context, see `compression.validation`."""
        self._folder = Path((context or {}).get("folder") or "")

    def read(self) -> bytes:
        """The file's content.

        Raises:
            ForeignGraphError: it cannot be read.
        """
        path = self._folder / self.file
        try:
            return path.read_bytes()
        except OSError as error:
            raise ForeignGraphError(
                f"cannot read {path}: {error.strerror}; import.file is relative to the recipe"
            ) from error

    def identity(self) -> dict[str, Any]:
        """By content: the same file under another name is the same step."""
        return {"sha256": hashlib.sha256(self.read()).hexdigest()}


class Import:
    """The file's graph behind the workload's inputs and output, checked on validation rows."""

    name: ClassVar[str] = "import"
    family: ClassVar[Family | None] = "imported"
    options: ClassVar[type[Options]] = ImportOptions
    ends_in_graph: ClassVar[bool] = True

    def apply(
        self, candidate: Candidate, options: ImportOptions, context: Context, report: Report
    ) -> Candidate:
        """A candidate that is only a graph; the one given is where every chain begins.

        Raises:
            ForeignGraphError: the file cannot be a variant of this workload; says what to do.
        """
        started = time.perf_counter()
        content, workload = options.read(), context.workload
        example = workload.gather(workload.validation[:EXAMPLE_ROWS])
        where = str(options.file)
        graph = adapt(content, workload.inputs, workload.outputs[0], example, where)
        rows = context.validation.rows[:: max(1, len(context.validation.rows) // TRIED_ROWS)]
        scores = scores_of(graph, workload.gather, rows, workers=1, report=report)
        check_scores(scores, isinstance(workload.head, Binary), where)
        notes = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        made = Candidate(Template("imported"), Opaque(), graph, _precision(graph))
        return made.noted(notes, time.perf_counter() - started)


def check_scores(scores: Floats, probabilities: bool, where: str) -> None:
    """Refuse outputs [n, …] that cannot be judged.

    Raises:
        ForeignGraphError: not finite, all the same, or no probabilities where they must be.
    """
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        raise ForeignGraphError(
            f"{where}: {broken} of {scores.size} scores of validation rows are not finite; does "
            "it expect inputs that are scaled or filled in first? Export that with it"
        )
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        raise ForeignGraphError(
            f"{where} scores each of {len(scores)} validation rows {low:g}: was it trained on one "
            "class alone, or exported without its weights?"
        )
    if probabilities and not 0 <= low <= high <= 1:
        raise ForeignGraphError(
            f"{where} gives scores from {low:g} to {high:g}, expected probabilities from 0 to 1: "
            "export probabilities, or put a sigmoid behind the last node"
        )


def _precision(graph: bytes) -> Precision:
    if integer_kernels(graph):
        return "int8"
    halves = any(t.data_type == TensorProto.FLOAT16 for t in tensors(onnx.load_from_string(graph)))
    return "fp16" if halves else "fp32"
