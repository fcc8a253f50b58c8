"""Export one variant of a store as a folder for phones and browsers.

    model.onnx or model.ort    the model
    edge.json                  what it takes and gives, its threshold, gate, size, memory, origin
    samples.json               held-out requests with the server's answers
    README.md                  how to run it in JavaScript

All checks come first; the folder appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from compression.edge.budget import Budget
from compression.edge.compatibility import TARGET, require_runnable
from compression.edge.document import EDGE_DOCUMENT, INSTRUCTIONS, SAMPLES, EdgeDocument, Source
from compression.edge.formats import FORMATS, Format, FormatName
from compression.edge.instructions import instructions
from compression.edge.memory import memory_of
from compression.edge.optimiser import optimised
from compression.edge.samples import edge_samples
from compression.edge.variant import Arrays, EdgeVariant
from compression.errors import ExportError
from compression.store import ModelStore, describe
from compression.store.folder import write_folder

SCORE_TOLERANCE = 1e-4
"""How far the exported file's outputs may be from the published file's, on this machine."""


@dataclass(frozen=True)
class ExportOptions:
    """What to write, and what to let pass."""

    format: FormatName
    budget: Budget
    samples: int
    """How many of the store's samples go along, at most."""
    allow_failed_gate: bool = False
    replace: bool = False


def export_variant(
    store: ModelStore, model: str, variant: str, folder: Path, options: ExportOptions
) -> EdgeDocument:
    """Export a variant as `folder` and return its `edge.json`.

    Raises:
        StoreError: the variant is not there, or not what it was.
        ExportError: it cannot be exported, or the folder is taken; nothing was written.
        BudgetError: it is over the budget; nothing was written.
    """
    _require_place(folder, replace=options.replace)
    subject = EdgeVariant.load(store, model, variant, options.samples)
    subject.require_gate(allow_failed=options.allow_failed_gate)
    edge, contents = _contents(subject, FORMATS[options.format], options.budget)
    write_folder(folder, contents)
    return edge


def _require_place(folder: Path, *, replace: bool) -> None:
    if not folder.exists():
        return
    if not replace:
        raise ExportError(
            f"{folder} is there already: give another --out, or say --replace to write it anew"
        )
    if not (folder / EDGE_DOCUMENT).is_file():
        raise ExportError(
            f"{folder} is no exported folder (it has no {EDGE_DOCUMENT}), so --replace leaves it "
            "alone: give another --out"
        )


def _contents(
    subject: EdgeVariant, kind: Format, budget: Budget
) -> tuple[EdgeDocument, dict[str, bytes]]:
    """The folder's document and its files, by name."""
    tensors = (*subject.inputs, *subject.document.outputs)
    require_runnable(onnx.load_from_string(subject.artifact), tensors)
    model = kind.write(subject.artifact)
    executed = onnx.load_from_string(kind.executed(subject.artifact))
    require_runnable(executed, tensors)
    memory = memory_of(optimised(subject.artifact, "ONNX"), len(model), subject.rows[0])
    budget.require(len(model), memory)
    answers = subject.answers(subject.artifact)
    _require_same(answers, subject.answers(model))
    samples = edge_samples(subject.rows, answers, subject.decision)
    manifest = subject.manifest
    edge = EdgeDocument(
        model=manifest.model,
        variant=manifest.name,
        format=kind.name,
        file=describe(kind.file, model),
        precision=manifest.runtime.precision,
        inputs=subject.inputs,
        outputs=subject.document.outputs,
        decision=subject.decision,
        gate=manifest.gate,
        allowed_failed_gate=manifest.gate.verdict == "failed",
        memory=memory,
        ir_version=executed.ir_version,
        opsets=_opsets(executed),
        runs_on=TARGET,
        samples=describe(SAMPLES, samples),
        source=Source(
            artifact=describe(manifest.runtime.artifact, subject.artifact),
            manifest_sha256=subject.manifest_sha256,
        ),
        made_with=_versions(),
    )
    return edge, {
        kind.file: model,
        SAMPLES: samples,
        INSTRUCTIONS: instructions(edge).encode(),
        EDGE_DOCUMENT: edge.model_dump_json(indent=2).encode() + b"\n",
    }


def _require_same(published: Sequence[Arrays], exported: Sequence[Arrays]) -> None:
    """That another file format changed no score."""
    for row, (expected, found) in enumerate(zip(published, exported, strict=True)):
        for name, values in expected.items():
            if not np.allclose(values, found[name], rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE):
                difference = np.abs(np.subtract(values, found[name], dtype=np.float64)).max()
                raise ExportError(
                    f"the exported file gives another {name!r} for sample {row}: {difference:.2g} "
                    f"apart, at most {SCORE_TOLERANCE:g} is allowed. Export as onnx, which leaves "
                    "the file as it is"
                )


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    """The operator sets that nodes of the file are of."""
    used = {node.domain for node in model.graph.node}
    return {opset.domain: opset.version for opset in model.opset_import if opset.domain in used}


def _versions() -> dict[str, str]:
    return {
        "onnxruntime": onnxruntime.__version__,
        "slimserve": metadata.version("slimserve"),
    }
