"""Judge all variants of a run together and publish them."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from compression.arrays import load_arrays, save_arrays
from compression.artifacts import Artifact
from compression.card.page import draw_card
from compression.chains import Chain
from compression.console import Stages
from compression.graphs.inspect import graph_parameters
from compression.graphs.latency import measure
from compression.judging import Examination
from compression.quality.gate import REFERENCE, judge
from compression.quality.segments import MINIMUM_POSITIVES
from compression.recipe import ORIGINAL, Recipe
from compression.store import (
    Baseline,
    Baselines,
    ChainStep,
    CorruptArtifactError,
    Decision,
    Evidence,
    Latency,
    Lineage,
    Manifest,
    ModelDocument,
    ModelStore,
    Publisher,
    Quality,
    Runtime,
    Samples,
    StoredFile,
    VariantExistsError,
    describe,
)
from compression.store.layout import PROBE_ROWS, SAMPLES
from compression.techniques.candidate import parameter_count
from compression.techniques.context import Context
from compression.techniques.train import TrainOptions
from compression.verdicts import TOLD, earns_its_cost, teacher_helped
from compression.workloads.base import Rows, Workload
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


class VariantPublisher:
    """Publishes judged artifacts of one run into a store."""

    def __init__(self, store: str, workload: Workload, recipe: Recipe, *, replace: bool) -> None:
        self._store = store
        self._publisher = Publisher(store)
        self._workload, self._recipe, self._replace = workload, recipe, replace
        self._samples = self._draw_samples()

    def _draw_samples(self) -> Samples:
        """Held-out rows in their natural mix, from the test window."""
        generator = np.random.default_rng(self._recipe.seed + 1)
        test = self._workload.test
        rows = np.sort(generator.choice(test, min(self._recipe.samples, len(test)), replace=False))
        labels = self._workload.labels[rows].astype(np.float32)
        inputs = self._workload.gather(rows)
        return Samples(inputs, labels, self._workload.routing_keys(rows))

    def publish_model(self) -> None:
        """model.json and samples.npz."""
        workload = self._workload
        document = ModelDocument(
            name=self._recipe.model,
            workload=workload.name,
            inputs=workload.inputs,
            outputs=workload.outputs,
            decision=Decision(
                output=workload.outputs[0].name, threshold=workload.decision_threshold
            ),
            routing_key=workload.routing_key,
            champion=self._recipe.champion,
            samples=StoredFile(path=SAMPLES, sha256="0" * 64, bytes=0),
            data=workload.describe(),
        )
        self._publisher.publish_model(document, self._samples)

    def is_current(self, chain: Chain) -> bool:
        """True if this very content, judged by this very recipe, is published and intact."""
        store = ModelStore(self._store)
        if chain.name not in store.variants(self._recipe.model):
            return False
        try:
            lineage = store.load(self._recipe.model, chain.name).manifest.lineage
        except CorruptArtifactError:
            return False
        return (lineage.content_sha256, lineage.recipe_sha256) == (
            chain.content_sha256,
            self._recipe.sha256,
        )

    def check_original(self, chain: Chain) -> None:
        """Whether a variant can be put beside the original that is published.

        Raises:
            StoreUnavailableError: there is none.
            VariantExistsError: it is another one, or of other data.
        """
        store, model = ModelStore(self._store), self._recipe.model
        store.model(model)
        published = store.manifest(model, ORIGINAL).lineage
        if published.content_sha256 != chain.content_sha256:
            raise VariantExistsError(
                f"the original of {model!r} in {self._store} was made of other data or weights "
                "than this recipe's: run the recipe into a store of its own, and import there"
            )

    def missing(
        self, chains: Mapping[str, Chain], names: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """The recipe's variants, or those named, that are still to be published, in its order.

        Raises:
            VariantExistsError: one of them is there with other content, and `replace` is False.
        """
        wanted = self._recipe.variants if names is None else names
        missing = tuple(n for n in wanted if not self.is_current(chains[n]))
        self.check_free(missing)
        return missing

    def check_free(self, names: Collection[str]) -> None:
        """VariantExistsError where a name is taken, and `replace` is False."""
        taken = set(names) & set(ModelStore(self._store).variants(self._recipe.model))
        if taken and not self._replace:
            raise VariantExistsError(
                f"{self._store} holds other variants of {self._recipe.model!r} named "
                f"{', '.join(sorted(taken))}: give them other names, or say --replace"
            )

    def measured(self, artifact: Artifact) -> tuple[Latency, tuple[float, ...]]:
        """Model-only latency on sample rows, and the probe scores."""
        call = artifact.caller()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            probes = call(self._samples.rows(0, PROBE_ROWS)).reshape(PROBE_ROWS, -1)[:, 0]
            batches = {size: self._samples.rows(0, size) for size in self._recipe.latency_rows}
            latency = measure(
                lambda size: call(batches[size]),
                self._recipe.latency_rows,
                self._recipe.latency_seconds,
            )
        finally:
            torch.set_num_threads(threads)
        return latency, tuple(float(score) for score in probes)

    def publish(self, artifact: Artifact, judged: Judged) -> Manifest:
        """Measure and publish one variant."""
        chain = artifact.chain
        latency, probes = self.measured(artifact)
        quality = judged.qualities[chain.name]
        manifest = Manifest(
            model=self._recipe.model,
            name=chain.name,
            family=chain.family,
            created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            runtime=Runtime(
                engine=artifact.engine,
                artifact=artifact.file,
                precision=chain.candidate.precision,
                needs=_needs(artifact.engine),
                integer_kernels=artifact.integer_kernels,
            ),
            files=(describe(artifact.file, artifact.content),),
            lineage=self._lineage(chain),
            parameters=artifact.parameters,
            flops_per_row=artifact.flops_per_row,
            decision_threshold=judged.thresholds[chain.name],
            quality=quality,
            gate=REFERENCE if chain.name == ORIGINAL else judge(quality, self._recipe.gate_config),
            latency=latency,
            probe_scores=probes,
        )
        self._publisher.publish_variant(
            manifest, {artifact.file: artifact.content}, replace=self._replace
        )
        return manifest

    def publish_baselines(self, chains: Mapping[str, Chain], judged: Judged) -> None:
        """The honest comparisons, and what they say in words."""
        baselines = [
            Baseline(
                name=self._workload.baseline_name,
                description=self._workload.baseline_description,
                parameters=None,
                training_seconds=judged.baseline_seconds,
                quality=judged.qualities[self._workload.baseline_name],
            )
        ]
        for name, config in self._recipe.baselines.items():
            notes = chains[name].candidate.notes
            baselines.append(
                Baseline(
                    name=name,
                    description=config.description,
                    parameters=_parameters(chains[name]),
                    training_seconds=sum(n.get("training_seconds", 0.0) for n in notes),
                    quality=judged.qualities[name],
                )
            )
        self._publisher.publish_baselines(
            self._recipe.model,
            Baselines(
                profile=self._recipe.profile,
                notes=judged.notes,
                baselines=tuple(baselines),
            ),
        )

    def publish_evidence(self, judged: Judged) -> None:
        """What the model card is drawn from."""
        self._publisher.publish_evidence(self._recipe.model, judged.evidence)

    def add_evidence(self, judged: Judged, name: str) -> None:
        """Put one variant's evidence beside what is there, where that is of the same rows."""
        published = ModelStore(self._store).evidence(self._recipe.model)
        evidence = judged.evidence
        if published is not None and published.rows_sha256 == evidence.rows_sha256:
            variants = {**published.variants, name: evidence.variants[name]}
            evidence = published.model_copy(update={"variants": variants})
        self._publisher.publish_evidence(self._recipe.model, evidence)

    def publish_card(self) -> None:
        """Draw the model card from what the store now holds."""
        card = draw_card(ModelStore(self._store), self._recipe.model)
        self._publisher.publish_card(self._recipe.model, card.html, card.markdown)

    def _lineage(self, chain: Chain) -> Lineage:
        candidate = chain.candidate
        steps = zip(chain.steps, candidate.notes, candidate.seconds, strict=True)
        return Lineage(
            parent=chain.parent,
            chain=tuple(
                ChainStep(
                    technique=name,
                    options=options.model_dump(mode="json"),
                    seconds=seconds,
                    notes=notes,
                )
                for (name, options), notes, seconds in steps
            ),
            recipe_sha256=self._recipe.sha256,
            content_sha256=chain.content_sha256,
            data_sha256=self._workload.data_sha256,
            seed=self._recipe.seed,
        )


def _parameters(chain: Chain) -> int:
    candidate = chain.candidate
    if candidate.imported and candidate.onnx is not None:
        return graph_parameters(candidate.onnx)
    return parameter_count(candidate.module)


def _needs(engine: str) -> dict[str, str]:
    """Packages the artifact was made and checked with, by name."""
    names: dict[str, tuple[str, ...]] = {
        "torch": ("torch",),
        "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    }
    found: dict[str, Any] = {}
    for name in names[engine]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
