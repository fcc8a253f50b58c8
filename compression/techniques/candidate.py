"""What passes along a chain: a module, and at the chain's end an artifact."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from compression.files import write_whole
from compression.models.saved import load_module, save_module
from compression.models.scorer import Opaque, Scorer
from compression.tracing import TRACING
from compression.workloads.base import Workload

Precision = Literal["fp32", "fp16", "int8", "int4"]
MODULE, GRAPH, RECORD = "module.safetensors", "model.onnx", "candidate.json"


@dataclass(frozen=True)
class Template:
    """How to build the module's architecture before its weights are loaded."""

    kind: Literal["original", "student", "imported"]
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, workload: Workload) -> Scorer:
        """A module of that architecture, in eval mode; a student's weights follow from its seed."""
        if self.kind == "imported":
            return Opaque()
        with TRACING.alone():
            if self.kind == "original":
                return workload.original()
            return workload.head.scorer(workload.student(self.options)).eval()


@dataclass(frozen=True)
class Candidate:
    """A model on its way to being a variant.

    `onnx` is set by techniques that work on graphs; after that no technique can change `module`.
    An imported candidate is its graph alone: its module is `Opaque`.
    """

    template: Template
    module: Scorer
    onnx: bytes | None = None
    precision: Precision = "fp32"
    notes: tuple[dict[str, Any], ...] = ()
    """What each technique of the chain found worth telling, e.g. training seconds."""
    seconds: tuple[float, ...] = ()
    """Wall time of each technique of the chain."""

    @property
    def imported(self) -> bool:
        """Whether there is a graph and no module."""
        return self.template.kind == "imported"

    def noted(self, notes: dict[str, Any], seconds: float) -> Candidate:
        """The candidate with one more technique's notes."""
        return replace(self, notes=(*self.notes, notes), seconds=(*self.seconds, seconds))

    def save(self, folder: Path) -> None:
        """Write without pickle; the record last, so that a folder with a record is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        save_module(self.module, folder / MODULE)
        if self.onnx is not None:
            write_whole(folder / GRAPH, self.onnx)
        record = {
            "template": {"kind": self.template.kind, "options": self.template.options},
            "onnx": self.onnx is not None,
            "precision": self.precision,
            "notes": self.notes,
            "seconds": self.seconds,
        }
        write_whole(folder / RECORD, json.dumps(record).encode())

    @classmethod
    def load(cls, folder: Path, workload: Workload) -> Candidate | None:
        """Read back what `save` wrote; None if it is not there, or not whole."""
        if not (folder / RECORD).exists():
            return None
        record = json.loads((folder / RECORD).read_text())
        template = Template(**record["template"])
        module = template.build(workload)
        load_module(module, folder / MODULE)
        return cls(
            template,
            module.eval(),
            (folder / GRAPH).read_bytes() if record["onnx"] else None,
            record["precision"],
            tuple(record["notes"]),
            tuple(record["seconds"]),
        )


def parameter_count(module: nn.Module) -> int:
    """Trained numbers in the module."""
    return sum(parameter.numel() for parameter in module.parameters())
