"""Train and judge every model on every fold, and set the means beside the published ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from compression.console import Stages
from compression.files import write_whole
from compression.machine import this_machine
from compression.published.figures import Figures, judged
from compression.published.folds import FOLDS, open_fold
from compression.published.models import MODELS
from compression.store.manifest import Document, Machine
from compression.tables import Cells
from compression.workloads.fraud.simulator import SimulatorConfig

RESULTS, TABLE = "results.json", "published.md"
HEADINGS = ("model", "AUC", "published", "AP", "published", "card precision at 100", "published")


class ModelFigures(Document):
    """One model on all folds, beside what was published."""

    name: str
    description: str
    folds: tuple[Figures, ...]
    published: Figures

    def mean(self, metric: str) -> float:
        """Over the folds."""
        return float(np.mean([getattr(fold, metric) for fold in self.folds]))

    def deviation(self, metric: str) -> float:
        """Standard deviation over the folds."""
        return float(np.std([getattr(fold, metric) for fold in self.folds], ddof=1))


class PublishedResults(Document):
    """`results.json`."""

    schema_version: Literal[1] = 1
    seed: int
    simulator: SimulatorConfig
    data_sha256: str
    """Of the folds' own hashes, in order."""
    machine: Machine
    models: tuple[ModelFigures, ...]


def run_published(seed: int, simulator: SimulatorConfig, out: Path) -> PublishedResults:
    """Train, judge, and write `results.json` and `published.md` into `out`."""
    folds: dict[str, list[Figures]] = {model.name: [] for model in MODELS}
    digest = hashlib.sha256()
    # One thread: networks this small lose more at each meeting of threads than they win.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Stages() as stages:
            for fold in range(FOLDS):
                title = f"fold {fold + 1} of {FOLDS}"
                with stages.stage(f"{title}: data") as advance:
                    workload = open_fold(fold, simulator)
                    digest.update(workload.data_sha256.encode())
                    advance(1, 1)
                for model in MODELS:
                    with stages.stage(f"{title}: {model.name}") as advance:
                        scores = model.score(workload, seed, advance)
                    folds[model.name].append(judged(workload, scores))
    finally:
        torch.set_num_threads(threads)
    results = PublishedResults(
        seed=seed,
        simulator=simulator,
        data_sha256=digest.hexdigest(),
        machine=this_machine(threads=1),
        models=tuple(
            ModelFigures(
                name=model.name,
                description=model.description,
                folds=tuple(folds[model.name]),
                published=model.published,
            )
            for model in MODELS
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / RESULTS, results.model_dump_json(indent=2).encode() + b"\n")
    write_whole(out / TABLE, f"{results_table(results).markdown()}\n".encode())
    return results


def results_table(results: PublishedResults) -> Cells:
    """One row a model: mean ± standard deviation over folds, beside what was published."""
    title = f"{FOLDS} test weeks of the published design: mean ± deviation over weeks"
    return Cells(title, HEADINGS, tuple(map(_row, results.models)), whole_names=False)


def _row(model: ModelFigures) -> tuple[str, ...]:
    cells = [model.description]
    for metric in Figures.model_fields:
        cells.append(f"{model.mean(metric):.3f} ± {model.deviation(metric):.3f}")
        cells.append(f"{getattr(model.published, metric):.3f}")
    return tuple(cells)
