"""Judge all variants of a run together: thresholds from validation rows, test rows read once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compression.arrays import load_arrays, save_arrays
from compression.artifacts import Artifact
from compression.chains import Chain
from compression.console import Stages
from compression.examination import Examination
from compression.quality.segments import MINIMUM_POSITIVES
from compression.recipe import ORIGINAL, Recipe
from compression.store import Evidence, Quality
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions
from compression.verdicts import TOLD, earns_its_cost, teacher_helped
from compression.workloads.base import Rows
from compression.workloads.windows import WeightedRows

RATIO = "average_precision"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Everything measured of one run, by model name."""

    qualities: Mapping[str, Quality]
    thresholds: Mapping[str, float]
    notes: tuple[str, ...]
    """What comparisons with the baselines and techniques' own measurements say, in words."""
    baseline_seconds: float
    evidence: Evidence


class Judge:
    """Scores validation and test rows once per artifact, then judges all models together."""

    def __init__(self, context: Context, recipe: Recipe, stages: Stages, workers: int) -> None:
        self._context, self._recipe, self._stages = context, recipe, stages
        self._workload, self._workers = context.workload, workers

    def outputs(self, artifact: Artifact, rows: Rows, what: str) -> Floats:
        """Outputs float32[len(rows), …], cached by the chain's content and the rows."""
        path = self._context.work / "scores" / f"{artifact.chain.content_sha256[:24]}-{what}.npz"
        stored = load_arrays(path)
        if stored is not None and np.array_equal(stored["rows"], rows):
            cached: Floats = stored["scores"]
            return cached
        with self._stages.stage(f"{artifact.chain.name}: scoring {what}") as advance:
            scores = artifact.scores(self._workload, rows, self._workers, advance)
        save_arrays(path, rows=rows, scores=scores)
        return scores

    def judge(
        self,
        artifacts: Mapping[str, Artifact],
        validation: WeightedRows,
        test: WeightedRows,
        baseline: Floats,
        baseline_seconds: float,
    ) -> Judged:
        """Thresholds from validation rows, then quality on the test rows, read once."""
        chosen = {n: self.outputs(a, validation.rows, "validation") for n, a in artifacts.items()}
        thresholds = Examination(self._workload, validation).thresholds(
            chosen, ORIGINAL, self._workload.decision_threshold
        )
        tested = {n: self.outputs(a, test.rows, "test") for n, a in artifacts.items()}
        tested[self._workload.baseline_name] = baseline
        recipe = self._recipe
        examination = Examination(self._workload, test, recipe.test.replicates, recipe.seed)
        published = {n: outputs for n, outputs in tested.items() if n in recipe.variants}
        segments = examination.segments(published, thresholds, ORIGINAL)
        qualities = examination.qualities(
            tested,
            thresholds,
            ORIGINAL,
            self._description(test),
            {n: a.chain.parent for n, a in artifacts.items() if a.chain.parent},
            segments,
        )
        evidence = Evidence(
            rows_sha256=self._rows_sha256(test),
            minimum_positives=MINIMUM_POSITIVES,
            variants=examination.evidence(published, thresholds, ORIGINAL, segments),
        )
        notes = (
            self._cost(qualities),
            *self._teaching(artifacts, tested, examination),
            *told(artifact.chain for artifact in artifacts.values()),
        )
        return Judged(qualities, thresholds, notes, baseline_seconds, evidence)

    def _rows_sha256(self, test: WeightedRows) -> str:
        digest = hashlib.sha256(self._workload.data_sha256.encode())
        digest.update(test.rows.tobytes() + test.weights.tobytes())
        return digest.hexdigest()

    def _cost(self, qualities: Mapping[str, Quality]) -> str:
        """What the original has over the workload's cheap baseline, in words."""
        name = self._workload.baseline_name
        return earns_its_cost(name.replace("-", " "), qualities[name].ratios_to_original[RATIO])

    def _teaching(
        self,
        artifacts: Mapping[str, Artifact],
        tested: Mapping[str, Floats],
        examination: Examination,
    ) -> Iterator[str]:
        """Each distilled student against its twin that was trained alone, where it has one."""
        chains = {name: artifact.chain for name, artifact in artifacts.items()}
        for student, twin in twins(chains.values()):
            both = {name: tested[name] for name in (student, twin)}
            ratio = examination.intervals(both, twin)[student].ratios[RATIO]
            seconds = float(chains[student].candidate.notes[0]["teacher_scoring_seconds"])
            yield teacher_helped(student, twin, ratio, seconds)

    def _description(self, test: WeightedRows) -> str:
        days = self._workload.days[self._workload.test]
        window = f"days {days.min()}–{days.max()} ({(days.max() - days.min() + 1) / 7:.0f} weeks)"
        rows = len(test.rows)
        if test.complete:
            return f"all {rows:,} test rows, {window}"
        sample = f"sample of {rows:,} of {len(days):,} test rows, {window}"
        if (test.weights == test.weights[0]).all():
            return f"a uniform {sample}"
        return (
            f"a weighted {sample}: all positives, negatives by how much they matter "
            "(Horvitz–Thompson weights)"
        )


def twins(chains: Collection[Chain]) -> Iterator[tuple[str, str]]:
    """(taught, alone): names of students that differ in nothing but the teacher."""
    alone = {}
    for chain in chains:
        if [name for name, _ in chain.steps] == ["train"]:
            alone[_student_training(chain)] = chain.name
    for chain in chains:
        if [name for name, _ in chain.steps] == ["distill"]:
            twin = alone.get(_student_training(chain))
            if twin is not None:
                yield chain.name, twin


def told(chains: Iterable[Chain]) -> Iterator[str]:
    """What techniques measured, in words: once, of the first chain that has the step."""
    seen = set()
    for chain in chains:
        steps: tuple[str, ...] = ()
        for (technique, options), notes in zip(chain.steps, chain.candidate.notes, strict=True):
            steps = (*steps, technique + options.model_dump_json())
            if technique in TOLD and steps not in seen:
                yield TOLD[technique](chain.name, notes)
            seen.add(steps)


def _student_training(chain: Chain) -> str:
    """The options that `train` and `distill` have in common."""
    _, options = chain.steps[0]
    return options.model_dump_json(include=set(TrainOptions.model_fields))
