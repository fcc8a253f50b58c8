"""`onnx`: the same network run by ONNX Runtime, to tell the runtime's gain from compression's."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from compression.techniques.base import Family, Options
from compression.techniques.candidate import Candidate
from compression.techniques.context import Context
from compression.training.scoring import Report


class Onnx:
    """Export to ONNX, fp32."""

    name: ClassVar[str] = "onnx"
    family: ClassVar[Family | None] = None
    options: ClassVar[type[Options]] = Options
    ends_in_graph: ClassVar[bool] = True

    def apply(
        self, candidate: Candidate, options: Options, context: Context, report: Report
    ) -> Candidate:
        """The candidate with its graph."""
        started = time.perf_counter()
        graph = context.float_graph(candidate.module)
        report(1, 1)
        return replace(candidate, onnx=graph).noted({}, time.perf_counter() - started)
