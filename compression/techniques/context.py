"""What every technique may use: the workload, seeds, cached teacher logits, progress."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from torch import nn

from compression.arrays import load_arrays, save_arrays
from compression.graphs.export import EXAMPLE_ROWS, to_onnx
from compression.models.transformer import CalibratedScorer
from compression.quality.calibration import fit_platt
from compression.training.scoring import Floats, Report, logits_of
from compression.workloads.base import Rows, Workload


@dataclass(frozen=True)
class WeightedRows:
    """Rows and how many each stands for."""

    rows: Rows
    weights: npt.NDArray[np.float64]


def all_or_drawn(
    workload: Workload, window: Rows, negatives: int | None, seed: int
) -> WeightedRows:
    """Every positive of a window and `negatives` drawn others, weighted up to all of them."""
    labels = workload.labels[window]
    positives, others = window[labels], window[~labels]
    if negatives is None or negatives >= len(others):
        return WeightedRows(window, np.ones(len(window)))
    drawn = np.random.default_rng(seed).choice(others, negatives, replace=False)
    rows = np.concatenate((positives, np.sort(drawn)))
    weights = np.where(workload.labels[rows], 1.0, len(others) / negatives)
    return WeightedRows(rows, weights)


@dataclass(frozen=True)
class Context:
    """Shared by the techniques of one run."""

    workload: Workload
    seed: int
    work: Path
    validation: WeightedRows
    """Rows on which calibration and thresholds are chosen."""
    _graphs: WeakKeyDictionary[nn.Module, bytes] = field(default_factory=WeakKeyDictionary)
    _exporting: Lock = field(default_factory=Lock)

    def float_graph(self, module: CalibratedScorer) -> bytes:
        """The finished module as fp32 ONNX; exported once, however many variants start at it."""
        with self._exporting:
            graph = self._graphs.get(module)
            if graph is None:
                example = self.workload.gather(self.workload.validation[:EXAMPLE_ROWS])
                graph = to_onnx(module, example, self.workload.outputs[0].name)
                self._graphs[module] = graph
            return graph

    def recalibrate(self, module: CalibratedScorer, report: Report) -> None:
        """Fit the module's Platt scaling on the validation rows, in place."""
        rows = self.validation
        logits = logits_of(module.body, self.workload.gather, rows.rows, report=report)
        slope, intercept = fit_platt(self.workload.labels[rows.rows], logits, rows.weights)
        module.slope.fill_(slope)
        module.intercept.fill_(intercept)

    def teacher_logits(self, rows: Rows, report: Report) -> tuple[Floats, float]:
        """The original's logits float32[len(rows)] and the seconds they took to compute.

        Cached by content in `work`; a workload may ship such a cache beside its original.
        """
        key = hashlib.sha256(rows.tobytes() + self.workload.original_sha256.encode()).hexdigest()
        name = f"teacher-{key[:24]}.npz"
        for folder in (self.work, self.workload.shipped):
            stored = load_arrays(folder / name)
            if stored is not None:
                return stored["logits"].astype(np.float32), float(stored["seconds"])
        started = time.perf_counter()
        teacher = self.workload.original()
        logits = logits_of(teacher.body, self.workload.gather, rows, bfloat16=True, report=report)
        seconds = time.perf_counter() - started
        halves = logits.astype(np.float16)
        save_arrays(self.work / name, logits=halves, seconds=seconds)
        # What the cache would give, so that a run with a warm cache trains on the same numbers.
        return halves.astype(np.float32), seconds
