"""A recipe from data to store, on tiny data: what is published, cached, and left by failures."""

from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression import pipeline
from compression.bench.benchmark import run_bench
from compression.card.page import Card, draw_card
from compression.errors import DataError, StorageError, TechniqueError
from compression.graphs.session import open_session, run
from compression.pipeline import run_recipe
from compression.quality.gate import GateConfig
from compression.recipe import Recipe, check
from compression.store import Manifest, ModelStore, Publisher, VariantExistsError
from compression.techniques import TECHNIQUES
from compression.techniques.candidate import Candidate
from compression.validation import validate
from compression.workloads import WORKLOADS, Chosen
from compression.workloads.fraud.config import FraudConfig
from compression.workloads.fraud.workload import FraudWorkload
from tests.compression.exports import exported_once
from tests.compression.full_disk import fill_disk

STUDENT = {
    "student": {"width": 8, "layers": 1, "heads": 2, "feed_forward": 16},
    "epochs": 1,
    "negatives_per_positive": 0.2,
    "pool_negatives": 1_000,
}
VARIANTS = ["original", "original-onnx", "int8", "taught", "taught-int8"]

Change = Callable[[dict[str, Any]], object]


@dataclass
class Counted:
    """The techniques that ran."""

    applied: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def document(tiny_settings: dict[str, Any]) -> dict[str, Any]:
    """A recipe with every kind of chain but pruning, which has tests of its own."""
    return {
        "version": 1,
        "model": "fraud",
        "profile": "tiny",
        "workload": tiny_settings,
        "test": {"rows": 3000, "replicates": 100},
        "samples": 64,
        "latency_rows": [1, 4],
        "latency_seconds": 0.01,
        "variants": {
            "original": {},
            "original-onnx": {"from": "original", "steps": [{"onnx": {}}]},
            "int8": {"from": "original", "steps": [{"quantize": {}}]},
            "taught": {"from": "original", "steps": [{"distill": STUDENT}]},
            "taught-int8": {"from": "taught", "steps": [{"quantize": {}}]},
        },
        "baselines": {"alone": {"description": "the twin", "steps": [{"train": STUDENT}]}},
    }


def _recipe(document: dict[str, Any], change: Change = lambda d: None) -> Recipe:
    document = copy.deepcopy(document)
    change(document)
    recipe = validate(Recipe, document, "recipe.yaml")
    check(recipe, "recipe.yaml")
    return recipe


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One export for the same weights."""
    with exported_once():
        yield


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Techniques that leave a trace when they run."""
    counted = Counted()
    for technique in TECHNIQUES.values():
        apply = technique.apply

        def traced(*arguments: Any, name: str = technique.name, apply: Any = apply) -> Candidate:
            counted.applied.append(name)
            made: Candidate = apply(*arguments)
            return made

        monkeypatch.setattr(technique, "apply", traced, raising=False)
    return counted


@dataclass(frozen=True)
class Place:
    """Where a run publishes and what it caches."""

    store: str
    work: Path

    def run(
        self, recipe: Recipe, *, replace: bool = False, resume: bool = True
    ) -> tuple[Manifest, ...]:
        """Run the recipe here."""
        return run_recipe(
            recipe, "recipe.yaml", self.store, self.work, replace=replace, resume=resume
        )

    @property
    def reader(self) -> ModelStore:
        """The store."""
        return ModelStore(self.store)


@pytest.fixture(scope="module")
def published(
    quick: None, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """The recipe's first run."""
    folder = Path(tmp_path_factory.mktemp("published"))
    place = Place(str(folder / "store"), folder / "work")
    place.run(_recipe(document))
    return place


@pytest.fixture(autouse=True)
def drawn_once(published: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards take seconds: only the first run draws one."""
    monkeypatch.setattr("compression.publishing.draw_card", lambda *_: Card("", ""))


@pytest.fixture
def place(published: Place, tmp_path: Path) -> Place:
    """A copy of what the first run left, to run other recipes on."""
    shutil.copytree(published.store, tmp_path / "store")
    shutil.copytree(published.work, tmp_path / "work")
    return Place(str(tmp_path / "store"), tmp_path / "work")


@pytest.fixture
def unpublished(place: Place) -> Place:
    """The same with an empty store."""
    shutil.rmtree(place.store)
    return place


def _manifests(place: Place) -> dict[str, Manifest]:
    return {name: place.reader.manifest("fraud", name) for name in place.reader.variants("fraud")}


def _forget_steps(place: Place) -> None:
    shutil.rmtree(place.work / "steps")


def test_every_variant_is_published_and_intact(published: Place) -> None:
    assert published.reader.models() == ("fraud",)
    assert published.reader.variants("fraud") == tuple(sorted(VARIANTS))
    for name in VARIANTS:
        files = published.reader.load("fraud", name)
        assert files.manifest.bytes == len(files.artifact) > 1000


def test_manifests_are_complete(published: Place, document: dict[str, Any]) -> None:
    recipe = _recipe(document)
    for name, manifest in _manifests(published).items():
        assert (manifest.model, manifest.name) == ("fraud", name)
        assert manifest.lineage.recipe_sha256 == recipe.sha256
        assert manifest.parameters > 100
        assert manifest.flops_per_row is not None
        assert manifest.flops_per_row > 1000
        assert manifest.quality.rows == 3000
        assert manifest.quality.positives == 803
        assert "weighted sample of 3,000 of 7,139" in manifest.quality.test
        assert 0 < manifest.decision_threshold < 1
        assert set(manifest.quality.metrics) >= {"average_precision", "auc", "ece"}
        estimate = manifest.quality.metrics["average_precision"]
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
        assert [row.rows for row in manifest.latency.by_rows] == [1, 4]
        assert manifest.latency.machine.threads == 1
        assert len(manifest.probe_scores) == 32
        assert manifest.runtime.needs


def test_lineage_tells_the_whole_chain(published: Place) -> None:
    manifests = _manifests(published)
    lineage = {
        name: (m.lineage.parent, [step.technique for step in m.lineage.chain])
        for name, m in manifests.items()
    }
    assert lineage == {
        "original": (None, []),
        "original-onnx": ("original", ["onnx"]),
        "int8": ("original", ["quantize"]),
        "taught": ("original", ["distill"]),
        "taught-int8": ("taught", ["distill", "quantize"]),
    }
    distill, quantize = manifests["taught-int8"].lineage.chain
    assert distill.options["student"] == STUDENT["student"]
    assert distill.seconds > distill.notes["training_seconds"] > 0
    assert quantize.notes["integer_kernels"] > 0
    hashes = {manifest.lineage.content_sha256 for manifest in manifests.values()}
    assert len(hashes) == len(VARIANTS)
    families = {name: manifest.family for name, manifest in manifests.items()}
    assert families == {
        "original": "original",
        "original-onnx": "original",
        "int8": "quantized",
        "taught": "distilled",
        "taught-int8": "quantized",
    }


def test_runtimes_say_what_is_in_the_file(published: Place) -> None:
    manifests = _manifests(published)
    runtimes = {
        name: (m.runtime.engine, m.runtime.artifact, m.runtime.precision)
        for name, m in manifests.items()
    }
    assert runtimes == {
        "original": ("torch", "model.pt2", "fp32"),
        "original-onnx": ("onnxruntime", "model.onnx", "fp32"),
        "int8": ("onnxruntime", "model.onnx", "int8"),
        "taught": ("onnxruntime", "model.onnx", "fp32"),
        "taught-int8": ("onnxruntime", "model.onnx", "int8"),
    }
    for manifest in manifests.values():
        assert (manifest.runtime.integer_kernels > 0) is (manifest.runtime.precision == "int8")


def test_compression_shows_in_the_figures(published: Place) -> None:
    manifests = _manifests(published)
    original, small = manifests["original"], manifests["taught"]
    assert small.parameters < 0.3 * original.parameters
    assert (small.flops_per_row or 0) < 0.3 * (original.flops_per_row or 0)
    for same in ("original-onnx", "int8"):
        assert manifests[same].parameters == original.parameters
        assert manifests[same].flops_per_row == original.flops_per_row


def test_the_gate_has_judged_all_but_the_reference(published: Place) -> None:
    for name, manifest in _manifests(published).items():
        gate, quality = manifest.gate, manifest.quality
        if name == "original":
            assert (gate.verdict, gate.checks) == ("reference", ())
            assert quality.ratios_to_original == {}
            continue
        assert gate.verdict == ("passed" if all(c.passed for c in gate.checks) else "failed")
        assert len(gate.checks) == 4
        assert set(quality.ratios_to_original) == set(quality.ratios_to_parent)
        assert quality.decision_agreement is not None
    verdicts = {name: m.gate.verdict for name, m in _manifests(published).items()}
    assert verdicts["original-onnx"] == "passed"
    assert verdicts["taught"] == "failed", "one epoch of a tiny student is not enough"


def test_the_same_network_scores_alike_in_either_runtime(published: Place) -> None:
    manifests = _manifests(published)
    torch_scores, onnx_scores = (
        np.array(manifests[name].probe_scores) for name in ("original", "original-onnx")
    )
    np.testing.assert_allclose(torch_scores, onnx_scores, atol=1e-4)
    ratio = manifests["original-onnx"].quality.ratios_to_original["average_precision"]
    assert ratio.value == pytest.approx(1, abs=1e-4)
    assert manifests["original-onnx"].quality.decision_agreement == pytest.approx(1, abs=0.002)


def test_probes_are_what_the_published_file_scores_on_the_published_samples(
    published: Place,
) -> None:
    samples = published.reader.samples("fraud")
    for name in ("original-onnx", "int8", "taught-int8"):
        files = published.reader.load("fraud", name)
        scores = run(open_session(files.artifact), samples.rows(0, 32))
        np.testing.assert_allclose(scores, files.manifest.probe_scores, atol=1e-6)


def test_the_model_s_document_says_what_to_send(
    published: Place, tiny_workload: FraudWorkload
) -> None:
    model = published.reader.model("fraud")
    assert [(spec.name, spec.shape) for spec in model.inputs] == [
        ("transaction", (-1, 20)), ("history", (-1, 8, 7)),
    ]  # fmt: skip
    assert (model.routing_key, model.champion) == ("customer_id", "original")
    assert model.decision.threshold == tiny_workload.decision_threshold
    assert model.data["counts"]["test"] == {"rows": 7139, "frauds": 803}
    samples = published.reader.samples("fraud")
    assert len(samples) == 64
    assert samples.inputs["history"].shape == (64, 8, 7)


def test_baselines_and_what_they_say_in_words(published: Place) -> None:
    baselines = published.reader.baselines("fraud")
    assert baselines is not None
    assert baselines.profile == "tiny"
    boosting, alone = baselines.baselines
    assert (boosting.name, alone.name) == ("gradient-boosting", "alone")
    assert alone.description == "the twin"
    assert alone.parameters == _manifests(published)["taught"].parameters
    assert boosting.training_seconds > 0
    assert alone.training_seconds > 0
    earns, teacher = baselines.notes
    assert "gradient boosting reaches" in earns
    assert "taught reaches" in teacher
    assert "of alone" in teacher


def test_evidence_and_worst_segments_come_from_the_rows_that_were_judged(published: Place) -> None:
    evidence = published.reader.evidence("fraud")
    assert evidence is not None
    assert set(evidence.variants) == set(VARIANTS), "baselines are not served and have none"
    for name, manifest in _manifests(published).items():
        own, quality = evidence.variants[name], manifest.quality
        assert sum(point.rows for point in own.reliability) == quality.rows
        dimensions = {segment.dimension for segment in own.segments}
        assert dimensions == {"amount", "terminal risk", "earlier transactions"}
        for dimension in dimensions:
            inside = [segment for segment in own.segments if segment.dimension == dimension]
            assert sum(segment.rows for segment in inside) == quality.rows
            assert sum(segment.positives for segment in inside) == quality.positives
        if name == "original":
            assert own.differences is None
            assert (quality.worst_segment, quality.decision_changes) == (None, None)
            continue
        worst, changes = quality.worst_segment, quality.decision_changes
        assert worst is not None
        assert changes is not None
        judged = {
            (segment.dimension, segment.name): segment.average_precision_ratio.value
            for segment in own.segments
            if segment.average_precision_ratio is not None
        }
        assert judged[worst.dimension, worst.name] == worst.ratio == min(judged.values())
        shares = changes.alert_to_pass_share + changes.pass_to_alert_share
        assert quality.decision_agreement == pytest.approx(1 - shares)


def test_a_run_ends_with_the_model_s_card(published: Place) -> None:
    folder = Path(published.store) / "fraud"
    page = (folder / "card.html").read_text()
    for name in VARIANTS:
        assert f'id="variant-{name}"' in page
        assert f"## {name}: " in (folder / "card.md").read_text()


def test_an_unchanged_recipe_has_nothing_to_do(
    place: Place,
    document: dict[str, Any],
    counted: Counted,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {path: path.read_bytes() for path in Path(place.store).rglob("*") if path.is_file()}
    monkeypatch.setattr(pipeline, "_baseline", None)
    monkeypatch.setattr("compression.publishing.draw_card", draw_card)
    manifests = place.run(_recipe(document))
    assert [manifest.name for manifest in manifests] == VARIANTS
    assert counted.applied == []
    assert f"nothing to do: {place.store} holds" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in Path(place.store).rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("left", ["nothing", "an older one"])
def test_a_card_that_an_earlier_run_did_not_draw_is_drawn(
    place: Place, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr("compression.publishing.draw_card", draw_card)
    pages = [Path(place.store) / "fraud" / name for name in ("card.html", "card.md")]
    whole = [page.read_bytes() for page in pages]
    if left == "nothing":
        pages[0].unlink()
    else:
        pages[1].write_text("of the variants before")
    place.run(_recipe(document))
    assert [page.read_bytes() for page in pages] == whole


def test_a_changed_step_is_redone_and_the_others_are_not(
    place: Place, document: dict[str, Any], counted: Counted
) -> None:
    recipe = _recipe(
        document,
        lambda d: d["variants"]["int8"].update(steps=[{"quantize": {"per_channel": False}}]),
    )
    before = _manifests(place)
    place.run(recipe, replace=True)
    assert counted.applied == ["quantize"]
    after = _manifests(place)
    for name in VARIANTS:
        same = before[name].lineage.content_sha256 == after[name].lineage.content_sha256
        assert same is (name != "int8")
        assert after[name].lineage.recipe_sha256 == recipe.sha256
        if same:
            assert after[name].quality == before[name].quality
            assert after[name].files == before[name].files


def test_a_changed_parent_changes_its_children(
    place: Place, document: dict[str, Any], counted: Counted
) -> None:
    change = {**STUDENT, "learning_rate": 0.001}
    recipe = _recipe(
        document, lambda d: d["variants"]["taught"].update(steps=[{"distill": change}])
    )
    place.run(recipe, replace=True)
    assert sorted(counted.applied) == ["distill", "quantize"]
    baselines = place.reader.baselines("fraud")
    assert baselines is not None
    assert len(baselines.notes) == 1, "its twin was trained otherwise, so nothing can be said"


def test_another_gate_judges_again_and_trains_nothing(
    place: Place, document: dict[str, Any], counted: Counted
) -> None:
    bounds = dict.fromkeys(GateConfig.model_fields) | {"auc_ratio": 0.0}
    place.run(_recipe(document, lambda d: d.update(gate=bounds)), replace=True)
    assert counted.applied == []
    verdicts = {name: m.gate.verdict for name, m in _manifests(place).items()}
    assert set(verdicts.values()) == {"reference", "passed"}


def test_published_variants_are_not_replaced_unasked(
    place: Place, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in Path(place.store).rglob("*") if path.is_file()}
    monkeypatch.setattr(pipeline, "_baseline", None)
    with pytest.raises(VariantExistsError, match=r"int8, original, .* or say --replace"):
        place.run(_recipe(document, lambda d: d.update(profile="other")))
    after = {path: path.read_bytes() for path in Path(place.store).rglob("*") if path.is_file()}
    assert after == before


def test_a_bench_measures_what_a_run_has_published(
    place: Place, document: dict[str, Any], counted: Counted, tmp_path: Path
) -> None:
    bench = {"rounds": 5, "slice_seconds": 0.005, "targets": [{"name": "s", "choose": "smallest"}]}
    recipe = _recipe(document, lambda d: d.update(bench=bench))
    results = run_bench(
        recipe, "recipe.yaml", place.store, place.work, tmp_path / "out", replace=False
    )
    assert counted.applied == [], "how it is measured changes no variant"
    assert [variant.name for variant in results.variants] == VARIANTS
    manifests = _manifests(place)
    smallest = min(VARIANTS, key=lambda name: manifests[name].bytes)
    assert results.targets[0].variant == smallest
    for variant in results.variants:
        assert [step.technique for step in variant.chain] == [
            step.technique for step in manifests[variant.name].lineage.chain
        ]


@pytest.mark.parametrize("damaged", ["model.onnx", "manifest.json"])
def test_a_damaged_variant_can_be_published_again(
    place: Place, document: dict[str, Any], damaged: str
) -> None:
    path = Path(place.store) / "fraud" / "variants" / "int8" / damaged
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(VariantExistsError, match="int8"):
        place.run(_recipe(document))
    place.run(_recipe(document), replace=True)
    assert place.reader.load("fraud", "int8").manifest.name == "int8"


@pytest.mark.parametrize("interrupted", ["distill", "quantize", "train"])
def test_an_interrupted_technique_publishes_nothing_and_the_next_run_goes_on(
    unpublished: Place,
    document: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    interrupted: str,
) -> None:
    _forget_steps(unpublished)

    def interrupt(*_: Any) -> Candidate:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TECHNIQUES[interrupted], "apply", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            unpublished.run(_recipe(document))
    assert not Path(unpublished.store).exists()
    unpublished.run(_recipe(document))
    assert set(_manifests(unpublished)) == set(VARIANTS)


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_publishing_leaves_whole_variants_and_the_next_run_goes_on(
    unpublished: Place,
    document: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    counted: Counted,
    after: int,
) -> None:
    publish, calls = Publisher._publish_folder, [0]

    def interrupt(self: Publisher, folder: Path, manifest: bytes, contents: Any) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        publish(self, folder, manifest, contents)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "_publish_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpublished.run(_recipe(document))
    assert set(_manifests(unpublished)) == set(VARIANTS[:after])
    for name in VARIANTS[:after]:
        unpublished.reader.load("fraud", name)
    assert unpublished.reader.baselines("fraud") is not None
    unpublished.run(_recipe(document))
    assert set(_manifests(unpublished)) == set(VARIANTS)
    assert counted.applied == []


def test_a_disk_that_is_full_at_any_write_harms_no_store_and_the_next_run_goes_on(
    place: Place,
    document: dict[str, Any],
    tiny_workload: FraudWorkload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each file that the run writes fails the first time, one more in every run."""
    monkeypatch.setattr(Chosen, "open", lambda _: tiny_workload)

    def change(d: dict[str, Any]) -> None:
        d.update(profile="other", baselines={}, seed=1)
        d["variants"] = {name: d["variants"][name] for name in VARIANTS[:2]}

    recipe, before = _recipe(document, change), _manifests(place)
    failed: list[str] = []
    while (path := _runs_into_a_full_disk(place, recipe, failed)) is not None:
        failed.append(path)
        for name in VARIANTS:
            manifest = place.reader.load("fraud", name).manifest
            assert manifest == before[name] or manifest.lineage.recipe_sha256 == recipe.sha256
        assert len(place.reader.samples("fraud")) == 64
    assert {Path(path).name.lstrip(".") for path in failed} >= {
        "module.safetensors", "model.onnx", "candidate.json", "model.json", "samples.npz",
        "baselines.json", "manifest.json", "model.pt2",
    }  # fmt: skip
    for name in VARIANTS[:2]:
        assert _manifests(place)[name].lineage.recipe_sha256 == recipe.sha256


def _runs_into_a_full_disk(place: Place, recipe: Recipe, failed: list[str]) -> str | None:
    """Run on a disk that is full at the first file that is not among those that failed before.

    Gives that file; None if there is none any more, and the run went through.
    """
    full: list[str] = []

    def is_full(path: str) -> bool:
        if full or path in failed:
            return False
        full.append(path)
        return True

    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, is_full)
        try:
            place.run(recipe, replace=True)
        except OSError as error:
            told = str(StorageError.of(error))
        else:
            return None
    assert "make room, then run the same command again" in told
    assert Path(full[0]).parent.name.lstrip(".") in told, "it says where"
    return full[0]


def test_without_resuming_every_step_and_score_is_made_and_published_anew(
    place: Place, document: dict[str, Any], counted: Counted
) -> None:
    recipe, before = _recipe(document), _manifests(place)
    scores = {p: p.stat().st_mtime_ns for p in (place.work / "scores").glob("*-test.npz")}
    with pytest.raises(VariantExistsError, match="say --replace"):
        place.run(recipe, resume=False)
    assert counted.applied == [], "told before anything is thrown away or computed"
    place.run(recipe, replace=True, resume=False)
    assert sorted(counted.applied) == ["distill", "onnx", "quantize", "quantize", "train"]
    after = _manifests(place)
    assert all(p.stat().st_mtime_ns > changed for p, changed in scores.items())
    assert len(scores) == len(VARIANTS) + 1
    for name in VARIANTS:
        assert after[name].lineage.content_sha256 == before[name].lineage.content_sha256
        assert after[name].latency != before[name].latency, "measured again"


def test_an_interruption_reaches_chains_that_are_still_training(
    unpublished: Place, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_steps(unpublished)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    training, ended = threading.Event(), threading.Event()

    def interrupt(*_: Any) -> Candidate:
        assert training.wait(30)
        raise KeyboardInterrupt

    def endless(candidate: Candidate, options: Any, context: Any, report: Any) -> Candidate:
        training.set()
        try:
            for step in range(10**9):
                report(step, 10**9)
        finally:
            ended.set()
        return candidate

    monkeypatch.setattr(TECHNIQUES["onnx"], "apply", interrupt, raising=False)
    monkeypatch.setattr(TECHNIQUES["distill"], "apply", endless, raising=False)
    with pytest.raises(KeyboardInterrupt):
        unpublished.run(_recipe(document))
    assert ended.is_set()


def test_a_failing_chain_fails_the_run_and_keeps_what_the_others_made(
    unpublished: Place, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    _forget_steps(unpublished)

    def fail(*_: Any) -> Candidate:
        raise TechniqueError("no integer kernel")

    with monkeypatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        patch.setattr(TECHNIQUES["train"], "apply", fail, raising=False)
        with pytest.raises(TechniqueError, match="no integer kernel"):
            unpublished.run(_recipe(document))
    assert not Path(unpublished.store).exists()
    counted.applied.clear()
    unpublished.run(_recipe(document))
    assert counted.applied == ["train"]


@pytest.mark.parametrize("window", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", ["positives", "others"])
def test_a_window_without_both_kinds_of_rows_is_refused_at_once(
    place: Place,
    document: dict[str, Any],
    tiny_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    counted: Counted,
    window: str,
    kind: str,
) -> None:
    class Poor(FraudWorkload):
        """One window has one kind of rows."""

        def __init__(self, config: FraudConfig) -> None:
            super().__init__(config)
            rows = getattr(self, window)
            labels = self.labels[rows]
            setattr(self, window, rows[labels if kind == "positives" else ~labels])

    monkeypatch.setitem(WORKLOADS, "fraud", Poor)
    with pytest.raises(DataError, match=f"the {window} window has .* give more data, or other"):
        place.run(_recipe(document))
    assert counted.applied == []


def test_all_test_rows_weigh_the_same_where_no_sample_is_asked_for(
    unpublished: Place, document: dict[str, Any]
) -> None:
    def change(d: dict[str, Any]) -> None:
        d["test"] = {"replicates": 100}
        d["variants"] = {"original": {}}
        d["baselines"] = {}

    (original,) = unpublished.run(_recipe(document, change))
    assert original.quality.rows == 7139
    assert original.quality.test.startswith("all 7,139 test rows, days 127–182 (8 weeks)")
    assert "card_precision_100" in original.quality.metrics
