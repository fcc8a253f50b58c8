"""What a study found: figures of each arm over its seeds, as a document and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from compression.store.manifest import Document, Machine
from compression.study.config import Study, run_name
from compression.tables import Cells


class ArmResult(Document):
    """One arm. Ratios are average precision on validation rows as shares of the original's."""

    name: str
    description: str
    ratios: tuple[float, ...]
    """One for each seed."""
    mean: float
    against: str
    gain: float
    """Mean over the seeds of the difference to the same seed of `against`."""
    gain_low: float
    gain_high: float
    """The least and the greatest of these differences."""
    training_seconds: float
    """Mean over the seeds, on one thread."""
    rows_seen: int


class StudyResults(Document):
    """`results.json` of a study."""

    schema_version: Literal[1] = 1
    study_sha256: str
    seeds: tuple[int, ...]
    rows: int
    """Validation rows that the arms are judged on; the test rows are left alone."""
    machine: Machine
    arms: tuple[ArmResult, ...]


def arm_results(
    study: Study,
    ratios: Mapping[str, float],
    seconds: Mapping[str, float],
    rows_seen: Mapping[str, int],
) -> tuple[ArmResult, ...]:
    """Figures by run, see `run_name`, gathered by arm."""
    results = []
    for name, arm in study.arms.items():
        runs = [run_name(name, seed) for seed in study.seeds]
        opponent = study.opponent(name)
        others = [run_name(opponent, seed) for seed in study.seeds]
        gains = [ratios[run] - ratios[other] for run, other in zip(runs, others, strict=True)]
        results.append(
            ArmResult(
                name=name,
                description=arm.description,
                ratios=tuple(ratios[run] for run in runs),
                mean=float(np.mean([ratios[run] for run in runs])),
                against=opponent,
                gain=float(np.mean(gains)),
                gain_low=min(gains),
                gain_high=max(gains),
                training_seconds=float(np.mean([seconds[run] for run in runs])),
                rows_seen=max(rows_seen[run] for run in runs),
            )
        )
    return tuple(results)


HEADINGS = ("training", "AP kept, each seed", "mean", "gain", "against", "rows seen", "seconds")


def results_table(results: StudyResults) -> Cells:
    """One row an arm."""
    rows = tuple(
        (
            arm.description or arm.name,
            ", ".join(f"{ratio:.3f}" for ratio in arm.ratios),
            f"{arm.mean:.3f}",
            "–" if arm.against == arm.name else
            f"{arm.gain:+.3f} ({arm.gain_low:+.3f} to {arm.gain_high:+.3f})",
            "–" if arm.against == arm.name else arm.against,
            f"{arm.rows_seen:,}",
            f"{arm.training_seconds:.0f}",
        )
        for arm in results.arms
    )  # fmt: skip
    title = f"{len(results.seeds)} seeds, {results.rows:,} validation rows"
    return Cells(title, HEADINGS, rows, whole_names=False)
