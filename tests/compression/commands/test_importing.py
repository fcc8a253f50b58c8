"""Gradient boosting from scikit-learn, exported, imported, judged and published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from threadpoolctl import threadpool_limits

from compression.__main__ import main
from compression.boosting import fit_boosting
from compression.graphs.foreign import flattened
from compression.graphs.session import open_session, run
from compression.store import ModelStore
from compression.workloads.base import Workload
from compression.workloads.fraud.workload import FraudWorkload

BAD_RECIPE, NO_STORE, FOREIGN = 4, 7, 12
TREES = 10


class Place:
    """A recipe of the original alone, published, and a boosted file beside it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.store = folder, str(folder / "store")
        self.recipe, self.file = folder / "recipe.yaml", folder / "boosted.onnx"
        document = {
            "version": 1,
            "model": "fraud",
            "workload": settings,
            "test": {"rows": 3000, "replicates": 100},
            "samples": 64,
            "latency_rows": [1],
            "latency_seconds": 0.01,
            "variants": {"original": {}},
        }
        self.recipe.write_text(yaml.safe_dump(document))

    def main(self, *arguments: str) -> int:
        """A command with this recipe."""
        return main([*arguments, "--recipe", str(self.recipe)])

    def importing(self, name: str, *more: str, file: Path | None = None) -> int:
        """`import` into this store."""
        return self.main(
            "import", str(file or self.file), "--name", name, "--store", self.store,
            "--work", str(self.folder / "work"), *more,
        )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> list[Any]:
    """The classifiers that were fitted."""
    return []


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any], fitted: list[Any]
) -> Iterator[Place]:
    def remembered(workload: Workload, seed: int, iterations: int) -> Any:
        fitted.append(fit_boosting(workload, seed, iterations))
        return fitted[-1]

    # Threads of a second core spin while they wait for it.
    with threadpool_limits(1, user_api="openmp"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("compression.boosting.fit_boosting", remembered)
        yield _published(Place(Path(tmp_path_factory.mktemp("import")), tiny_settings))


def _published(place: Place) -> Place:
    assert place.main("boosting", "--out", str(place.file), "--iterations", str(TREES)) == 0
    assert place.importing("early") == NO_STORE, "there is no original to put it beside"
    work = str(place.folder / "work")
    assert main(["run", str(place.recipe), "--store", place.store, "--work", work]) == 0
    assert place.importing("boosted") == 0
    return place


def test_the_variant_scores_as_scikit_learn_does(
    place: Place, fitted: list[Any], tiny_workload: FraudWorkload
) -> None:
    (model,) = fitted
    inputs = tiny_workload.gather(tiny_workload.test[:2000])
    expected = model.predict_proba(flattened(inputs))[:, 1]
    published = ModelStore(place.store).load("fraud", "boosted")
    np.testing.assert_allclose(run(open_session(published.artifact), inputs), expected, atol=1e-5)


def test_it_has_everything_that_a_variant_has(place: Place) -> None:
    store = ModelStore(place.store)
    manifest, files = store.manifest("fraud", "boosted"), store.load("fraud", "boosted")
    assert manifest.family == "imported"
    assert manifest.lineage.parent is None
    (step,) = manifest.lineage.chain
    assert (step.technique, step.options) == ("import", {"file": "boosted.onnx"})
    assert manifest.parameters > 2 * TREES
    assert manifest.flops_per_row is None
    assert manifest.gate.verdict in {"passed", "failed"}
    assert manifest.quality.rows == 3000
    assert set(manifest.quality.ratios_to_original) >= {"average_precision", "auc"}
    assert manifest.quality.worst_segment is not None
    assert manifest.latency.by_rows[0].p50_seconds > 0
    probes = run(open_session(files.artifact), store.samples("fraud").rows(0, 32))
    np.testing.assert_allclose(probes, manifest.probe_scores, atol=1e-6)


def test_it_stands_in_the_evidence_and_on_the_card(place: Place) -> None:
    store = ModelStore(place.store)
    evidence, baselines = store.evidence("fraud"), store.baselines("fraud")
    assert evidence is not None
    assert set(evidence.variants) == {"original", "boosted"}
    assert baselines is not None, "what the run published stays"
    card = (Path(place.store) / "fraud" / "card.html").read_text()
    assert 'id="variant-boosted"' in card
    assert "<svg" in card


def test_the_same_file_again_has_nothing_to_do(place: Place) -> None:
    before = ModelStore(place.store).manifest("fraud", "boosted")
    assert place.importing("boosted") == 0
    assert ModelStore(place.store).manifest("fraud", "boosted") == before


def test_bad_imports_are_answered(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    for name, file, code, message in (
        ("other", text, FOREIGN, "is not an ONNX file"),
        ("other", tmp_path / "none.onnx", FOREIGN, "cannot read"),
        ("original", None, BAD_RECIPE, "has 'original' itself: give the import another name"),
        ("../up", None, BAD_RECIPE, "is not a name"),
    ):
        assert place.importing(name, file=file) == code, name
        assert message in capsys.readouterr().err
    assert ModelStore(place.store).variants("fraud") == ("boosted", "original")


def test_another_original_is_not_judged_against(
    place: Place, tmp_path: Path, tiny_settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    other = Place(tmp_path, tiny_settings)
    document = yaml.safe_load(other.recipe.read_text()) | {"seed": 1}
    other.recipe.write_text(yaml.safe_dump(document))
    other.store, other.file = place.store, place.file
    assert other.importing("again") == NO_STORE
    assert "was made of other data or weights" in capsys.readouterr().err
