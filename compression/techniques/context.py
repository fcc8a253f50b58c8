"""What every technique may use: the workload, seeds, cached teacher outputs, the gate, progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from torch import nn

from compression.arrays import load_arrays, save_arrays
from compression.examination import Examination
from compression.graphs.export import EXAMPLE_ROWS, to_onnx
from compression.models.scorer import Scorer
from compression.quality.gate import GateConfig, judge
from compression.store import Gate, Quality
from compression.training.features import features_of
from compression.training.scoring import Floats, Report, nothing, outputs_of
from compression.workloads.base import Rows, Workload
from compression.workloads.windows import WeightedRows

REFERENCE = "original"


@dataclass(frozen=True)
class Context:
    """Shared by the techniques of one run."""

    workload: Workload
    seed: int
    work: Path
    validation: WeightedRows
    """Rows on which calibration and thresholds are chosen."""
    gate: GateConfig = field(default_factory=GateConfig)
    replicates: int = 300
    scratch: Path | None = None
    """Folder of the step under way, for checkpoints; it goes when the step is done."""
    _graphs: WeakKeyDictionary[nn.Module, bytes] = field(default_factory=WeakKeyDictionary)
    _exporting: Lock = field(default_factory=Lock)
    _scoring: Lock = field(default_factory=Lock)

    def float_graph(self, module: Scorer) -> bytes:
        """The finished module as fp32 ONNX; exported once, however many variants start at it."""
        with self._exporting:
            graph = self._graphs.get(module)
            if graph is None:
                example = self.workload.gather(self.workload.validation[:EXAMPLE_ROWS])
                graph = to_onnx(module, example, self.workload.outputs[0].name)
                self._graphs[module] = graph
            return graph

    def recalibrate(self, module: Scorer, report: Report) -> None:
        """Fit the module's finishing layer on the validation rows, in place."""
        rows = self.validation
        raw = outputs_of(module.body, self.workload.gather, rows.rows, report=report)
        labels = self.workload.labels[rows.rows]
        self.workload.head.calibrate(module, raw, labels, rows.weights)

    def teacher_outputs(self, rows: Rows, report: Report) -> tuple[Floats, float]:
        """The original's raw outputs float32[len(rows), …] and the seconds they took to compute.

        Cached by content in `work`; a workload may ship such a cache beside its original.
        """
        key = hashlib.sha256(rows.tobytes() + self.workload.original_sha256.encode()).hexdigest()
        name = f"teacher-{key[:24]}.npz"
        for folder in (self.work, self.workload.shipped):
            stored = None if folder is None else load_arrays(folder / name)
            if stored is not None:
                return stored["logits"].astype(np.float32), float(stored["seconds"])
        started = time.perf_counter()
        teacher = self.workload.original()
        raw = outputs_of(teacher.body, self.workload.gather, rows, bfloat16=True, report=report)
        seconds = time.perf_counter() - started
        halves = raw.astype(np.float16)
        save_arrays(self.work / name, logits=halves, seconds=seconds)
        # What the cache would give, so that a run with a warm cache trains on the same numbers.
        return halves.astype(np.float32), seconds

    def teacher_features(self, rows: Rows, report: Report) -> npt.NDArray[np.float16]:
        """The original's features float16[len(rows), width], see `compression.training.features`.

        Cached by content in `work`.
        """
        key = hashlib.sha256(rows.tobytes() + self.workload.original_sha256.encode()).hexdigest()
        path = self.work / f"features-{key[:24]}.npz"
        stored = load_arrays(path)
        if stored is None:
            body = self.workload.original().body
            features = features_of(body, self.workload.gather, rows, report)
            save_arrays(path, features=features)
            return features
        cached: npt.NDArray[np.float16] = stored["features"]
        return cached

    def original_outputs(self, report: Report = nothing, workers: int = 1) -> Floats:
        """What the original publishes for the validation rows; computed once, cached by content."""
        rows = self.validation.rows
        key = hashlib.sha256(rows.tobytes() + self.workload.original_sha256.encode()).hexdigest()
        path = self.work / "scores" / f"original-{key[:24]}.npz"
        with self._scoring:
            stored = load_arrays(path)
            if stored is None:
                module = self.workload.original()
                gather = self.workload.gather
                outputs = outputs_of(module, gather, rows, workers=workers, report=report)
                save_arrays(path, outputs=outputs)
                return outputs
        cached: Floats = stored["outputs"]
        return cached

    def validation_gate(self, score: Callable[[Rows], Floats]) -> Gate:
        """The gate's verdict on validation rows, see `validation_quality`."""
        return judge(self.validation_quality(score), self.gate)

    def validation_quality(self, score: Callable[[Rows], Floats]) -> Quality:
        """Quality on validation rows; `score` gives published outputs of rows.

        For choices on the way. The verdict that counts is of the test rows, which nobody who
        chooses may look at.
        """
        examination = Examination(self.workload, self.validation, self.replicates, self.seed)
        outputs = {REFERENCE: self.original_outputs(), "variant": score(self.validation.rows)}
        threshold = self.workload.decision_threshold
        thresholds = examination.thresholds(outputs, REFERENCE, threshold)
        segments = (
            {}
            if self.gate.worst_segment_ratio is None
            else examination.segments(outputs, thresholds, REFERENCE)
        )
        qualities = examination.qualities(
            outputs, thresholds, REFERENCE, "validation rows", segments=segments
        )
        return qualities["variant"]
