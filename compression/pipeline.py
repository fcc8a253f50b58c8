"""A recipe from data to store: run the chains, judge all of them together, publish."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compression.arrays import load_arrays, save_arrays
from compression.artifacts import Artifact
from compression.chains import Chain, ChainRunner
from compression.console import Stages, console
from compression.publishing import Judge, VariantPublisher
from compression.quality.sampling import weighted_sample
from compression.recipe import Recipe
from compression.store import Manifest, ModelStore
from compression.techniques.context import Context
from compression.workloads import WORKLOADS
from compression.workloads.base import Workload
from compression.workloads.windows import WeightedRows, all_or_drawn

Floats = npt.NDArray[np.float32]


def run_recipe(
    recipe: Recipe, source: str, store: str, work: Path, *, replace: bool
) -> tuple[Manifest, ...]:
    """Make, judge and publish every variant of the recipe; gives the published manifests.

    `source` names the recipe's file in messages; `work` holds what is cached by content.
    """
    work.mkdir(parents=True, exist_ok=True)
    workers = os.cpu_count() or 1
    with Stages() as stages:
        with stages.stage(f"{recipe.model}: data") as advance:
            workload = WORKLOADS[str(recipe.workload["name"])].open(recipe.workload)
            advance(1, 1)
        _check_windows(workload)
        validation = all_or_drawn(
            workload, workload.validation, recipe.validation.negatives, recipe.seed
        )
        context = Context(
            workload, recipe.seed, work, validation, recipe.gate_config, recipe.test.replicates
        )
        # One more than cores: chains differ in length, and the last would leave a core idle.
        chains = ChainRunner(recipe, source, context, stages, workers + 1).run()
        publisher = VariantPublisher(store, workload, recipe, replace=replace)
        missing = publisher.missing(chains)
        if not missing:
            console.print(
                f"nothing to do: {store} holds the recipe's variants already", soft_wrap=True
            )
            return _manifests(recipe, store)
        with stages.stage("gradient boosting") as advance:
            boosted, boosting_seconds = _boosted(workload, recipe.seed, work)
            advance(1, 1)
        test = _test_rows(workload, recipe, boosted)
        artifacts = _artifacts(chains, context, stages)
        judge = Judge(context, recipe, stages, workers)
        judged = judge.judge(
            artifacts,
            validation,
            test,
            boosted[np.searchsorted(workload.test, test.rows)],
            boosting_seconds,
        )
        # The variants last: where all of them are published, there is nothing left to do.
        publisher.publish_model()
        publisher.publish_baselines(chains, judged)
        publisher.publish_evidence(judged)
        with stages.stage("measuring and publishing") as advance:
            for done, name in enumerate(missing):
                publisher.publish(artifacts[name], judged)
                advance(done + 1, len(missing))
    return _manifests(recipe, store)


def _check_windows(workload: Workload) -> None:
    """Refuse data that cannot train, choose or judge a model, before anything is trained."""
    for name in ("train", "validation", "test"):
        workload.head.check(workload.labels[getattr(workload, name)], name)


def _manifests(recipe: Recipe, store: str) -> tuple[Manifest, ...]:
    reader = ModelStore(store)
    return tuple(reader.manifest(recipe.model, name) for name in recipe.variants)


def _boosted(workload: Workload, seed: int, work: Path) -> tuple[Floats, float]:
    """Baseline scores of all test rows, float32[n], and what they took; cached."""
    path = work / "scores" / f"boosting-{workload.data_sha256[:16]}-{seed}.npz"
    stored = load_arrays(path)
    if stored is not None:
        return stored["scores"], float(stored["seconds"])
    started = time.perf_counter()
    scores = workload.baseline_scores(workload.test, seed)
    seconds = time.perf_counter() - started
    save_arrays(path, scores=scores, seconds=seconds)
    return scores, seconds


def _test_rows(workload: Workload, recipe: Recipe, boosted: Floats) -> WeightedRows:
    """All test rows, or a weighted sample that spends the slow models' time where it matters."""
    if recipe.test.rows is None or recipe.test.rows >= len(workload.test):
        return WeightedRows(workload.test, np.ones(len(workload.test)))
    rare = workload.head.rare(workload.labels[workload.test])
    sample = weighted_sample(rare, boosted, recipe.test.rows, recipe.seed)
    order = np.argsort(sample.index)
    return WeightedRows(workload.test[sample.index[order]], sample.weights[order])


def _artifacts(
    chains: Mapping[str, Chain], context: Context, stages: Stages
) -> dict[str, Artifact]:
    artifacts = {}
    with stages.stage("exporting") as advance:
        for done, (name, chain) in enumerate(chains.items()):
            artifacts[name] = Artifact.of(chain, context)
            advance(done + 1, len(chains))
    return artifacts
