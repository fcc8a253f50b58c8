"""Publish what a run has made and judged."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from compression.artifacts import Artifact
from compression.card.page import draw_card
from compression.chains import Chain
from compression.graphs.inspect import graph_parameters
from compression.graphs.latency import measure
from compression.judge import Judged
from compression.quality.gate import REFERENCE, judge
from compression.recipe import ORIGINAL, Recipe
from compression.store import (
    Baseline,
    Baselines,
    ChainStep,
    CorruptArtifactError,
    Decision,
    Latency,
    Lineage,
    Manifest,
    ModelDocument,
    ModelStore,
    Publisher,
    Runtime,
    Samples,
    StoredFile,
    VariantExistsError,
    describe,
)
from compression.store.layout import PROBE_ROWS, SAMPLES
from compression.techniques.candidate import parameter_count
from compression.workloads.base import Workload


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
        """Draw the model card from what the store now holds; one that says the same stays."""
        store, model = ModelStore(self._store), self._recipe.model
        card = draw_card(store, model)
        if store.card(model) != (card.html, card.markdown):
            self._publisher.publish_card(model, card.html, card.markdown)

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
