"""What tests ask an export for."""

from __future__ import annotations

from compression.edge.budget import Budget
from compression.edge.export import ExportOptions
from compression.edge.formats import FormatName


def options(
    kind: FormatName = "onnx",
    samples: int = 8,
    *,
    model_bytes: int | None = None,
    memory_bytes: int | None = None,
    allow_failed_gate: bool = False,
    replace: bool = False,
) -> ExportOptions:
    """How to export, and a few samples."""
    return ExportOptions(
        kind,
        Budget(model_bytes, memory_bytes),
        samples,
        allow_failed_gate=allow_failed_gate,
        replace=replace,
    )
