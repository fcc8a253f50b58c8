"""A recipe from data to store: run the chains, judge all of them together, publish."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compression.arrays import load_arrays, save_arrays
from compression.artifacts import Artifact
from compression.chains import Chain, ChainRunner
from compression.console import Stages, console
from compression.judge import Judge, Judged
from compression.publishing import VariantPublisher
from compression.quality.sampling import weighted_sample
from compression.recipe import ORIGINAL, Recipe, importing
from compression.store import Manifest, ModelStore
from compression.techniques.context import Context
from compression.workloads import find_workload
from compression.workloads.base import Workload
from compression.workloads.windows import WeightedRows, all_or_drawn

Floats = npt.NDArray[np.float32]


def run_recipe(
    recipe: Recipe, source: str, store: str, work: Path, *, replace: bool, resume: bool = True
) -> tuple[Manifest, ...]:
    """Make, judge and publish every variant of the recipe; gives the published manifests.

    `source` names the recipe's file in messages; `work` holds what is cached by content. Without
    `resume` every step and score of the recipe is computed and published anew; what the original
    and the baseline say of the data does not depend on the recipe, and is kept.
    """
    with Stages() as stages:
        bench = Bench.of(recipe, source, work, stages)
        publisher = VariantPublisher(store, bench.workload, recipe, replace=replace)
        if not resume:
            publisher.check_free(recipe.variants)
            bench.runner().forget()
        chains = bench.chains()
        missing = publisher.missing(chains) if resume else tuple(recipe.variants)
        if not missing:
            # An earlier run may have been stopped between its last variant and the card.
            publisher.publish_card()
            console.print(
                f"nothing to do: {store} holds the recipe's variants already", soft_wrap=True
            )
            return _manifests(recipe, store)
        artifacts, judged = bench.judged(chains)
        # The variants last: where all of them are published, there is nothing left to do.
        publisher.publish_model()
        publisher.publish_baselines(chains, judged)
        publisher.publish_evidence(judged)
        bench.publish(publisher, artifacts, judged, missing)
    return _manifests(recipe, store)


def import_variant(
    recipe: Recipe, source: str, file: Path, name: str, store: str, work: Path, *, replace: bool
) -> Manifest:
    """Judge an ONNX file as the variant `name` of the recipe's model and publish it there.

    Beside the original that the store holds; nothing else of the recipe is made or published.

    Raises:
        RecipeError: the name is the recipe's own for another variant.
        ForeignGraphError: the file cannot be a variant.
        StoreError: the store has no original of this recipe, or another variant of that name.
    """
    alone = importing(recipe, source, file, name)
    with Stages() as stages:
        bench = Bench.of(alone, source, work, stages)
        chains = bench.chains()
        publisher = VariantPublisher(store, bench.workload, alone, replace=replace)
        publisher.check_original(chains[ORIGINAL])
        if name in publisher.missing(chains, (name,)):
            artifacts, judged = bench.judged(chains)
            publisher.add_evidence(judged, name)
            bench.publish(publisher, artifacts, judged, (name,))
    return ModelStore(store).manifest(recipe.model, name)


@dataclass(frozen=True)
class Bench:
    """Data, windows and caches of one run, and what is done with them."""

    recipe: Recipe
    source: str
    context: Context
    stages: Stages
    workers: int

    @classmethod
    def of(cls, recipe: Recipe, source: str, work: Path, stages: Stages) -> Bench:
        """Open the data and check it; `work` is made where it is not there."""
        work.mkdir(parents=True, exist_ok=True)
        with stages.stage(f"{recipe.model}: data") as advance:
            workload = find_workload(recipe.workload, source).open()
            advance(1, 1)
        _check_windows(workload)
        validation = all_or_drawn(
            workload, workload.validation, recipe.validation.negatives, recipe.seed
        )
        context = Context(
            workload, recipe.seed, work, validation, recipe.gate_config, recipe.test.replicates
        )
        return cls(recipe, source, context, stages, os.cpu_count() or 1)

    @property
    def workload(self) -> Workload:
        """The recipe's."""
        return self.context.workload

    def chains(self) -> dict[str, Chain]:
        """Every chain of the recipe, run or read from the cache."""
        return self.runner().run()

    def runner(self) -> ChainRunner:
        """One more worker than cores: chains differ in length, and the last would leave a core
        idle."""
        return ChainRunner(self.recipe, self.source, self.context, self.stages, self.workers + 1)

    def judged(self, chains: Mapping[str, Chain]) -> tuple[dict[str, Artifact], Judged]:
        """What the chains end in, and how good it is on the test rows."""
        recipe, workload = self.recipe, self.workload
        with self.stages.stage(workload.baseline_name) as advance:
            baseline, baseline_seconds = _baseline(workload, recipe.seed, self.context.work)
            advance(1, 1)
        test = _test_rows(workload, recipe, baseline)
        artifacts = _artifacts(chains, self.context, self.stages)
        judge = Judge(self.context, recipe, self.stages, self.workers)
        judged = judge.judge(
            artifacts,
            self.context.validation,
            test,
            baseline[np.searchsorted(workload.test, test.rows)],
            baseline_seconds,
        )
        return artifacts, judged

    def publish(
        self,
        publisher: VariantPublisher,
        artifacts: Mapping[str, Artifact],
        judged: Judged,
        names: Sequence[str],
    ) -> None:
        """Measure and publish these variants, then draw the model card."""
        with self.stages.stage("measuring and publishing") as advance:
            for done, name in enumerate(names):
                publisher.publish(artifacts[name], judged)
                advance(done + 1, len(names))
        publisher.publish_card()


def _check_windows(workload: Workload) -> None:
    """Refuse data that cannot train, choose or judge a model, before anything is trained."""
    for name in ("train", "validation", "test"):
        workload.head.check(workload.labels[getattr(workload, name)], name)


def _manifests(recipe: Recipe, store: str) -> tuple[Manifest, ...]:
    reader = ModelStore(store)
    return tuple(reader.manifest(recipe.model, name) for name in recipe.variants)


def _baseline(workload: Workload, seed: int, work: Path) -> tuple[Floats, float]:
    """The baseline's outputs for all test rows, float32[n, …], and what they took; cached."""
    source = (workload.source_sha256 or workload.name)[:16]
    name = f"{workload.baseline_name}-{source}-{workload.data_sha256[:16]}-{seed}.npz"
    stored = load_arrays(work / "scores" / name)
    if stored is not None:
        return stored["outputs"], float(stored["seconds"])
    started = time.perf_counter()
    outputs = workload.baseline_outputs(workload.test, seed)
    seconds = time.perf_counter() - started
    save_arrays(work / "scores" / name, outputs=outputs, seconds=seconds)
    return outputs, seconds


def _test_rows(workload: Workload, recipe: Recipe, baseline: Floats) -> WeightedRows:
    """All test rows, or a weighted sample that spends the slow models' time where it matters."""
    test, wanted = workload.test, recipe.test.rows
    if wanted is None or wanted >= len(test):
        return WeightedRows(test, np.ones(len(test)))
    rare = workload.head.rare(workload.labels[test])
    if rare.all():
        # Nothing is rare, so no row matters more than another.
        drawn = np.random.default_rng(recipe.seed).choice(test, wanted, replace=False)
        return WeightedRows(np.sort(drawn), np.full(wanted, len(test) / wanted))
    sample = weighted_sample(rare, baseline, wanted, recipe.seed)
    order = np.argsort(sample.index)
    return WeightedRows(test[sample.index[order]], sample.weights[order])


def _artifacts(
    chains: Mapping[str, Chain], context: Context, stages: Stages
) -> dict[str, Artifact]:
    artifacts = {}
    with stages.stage("exporting") as advance:
        for done, (name, chain) in enumerate(chains.items()):
            artifacts[name] = Artifact.of(chain, context)
            advance(done + 1, len(chains))
    return artifacts
