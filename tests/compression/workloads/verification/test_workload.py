from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from compression.__main__ import main
from compression.errors import RecipeError
from compression.quality.metrics import auc
from compression.store import ModelStore
from compression.training.scoring import outputs_of
from compression.workloads.checks import check_workload
from compression.workloads.verification.config import StudentConfig, VerificationConfig
from compression.workloads.verification.workload import VerificationWorkload


def _with(workload: VerificationWorkload, **settings: Any) -> VerificationWorkload:
    return VerificationWorkload(workload.config.model_copy(update=settings))


def test_it_keeps_the_protocol(workload: VerificationWorkload) -> None:
    check_workload(workload)
    inputs = workload.gather(workload.test[:5])
    for spec in workload.inputs:
        assert inputs[spec.name].shape == (5, 1, 16, 16)
        assert 0 <= inputs[spec.name].min() < inputs[spec.name].max() <= 255


def test_no_identity_is_in_two_windows(workload: VerificationWorkload) -> None:
    """Neither as the probe nor as the reference, whose picture is some probe of its window."""
    windows = (workload.train, workload.validation, workload.test)
    people = [set(workload.groups[rows].tolist()) for rows in windows]
    assert [len(window) for window in people] == [120, 32, 48]
    assert len(set.union(*people)) == 200
    probes = [{picture.tobytes() for picture in workload.gather(r)["probe"]} for r in windows]
    references = [{p.tobytes() for p in workload.gather(r)["reference"]} for r in windows]
    assert all(seen <= own for seen, own in zip(references, probes, strict=True))
    assert "disjoint identities" in workload.describe()["split"]


def test_days_count_enrolments(workload: VerificationWorkload) -> None:
    windows = (workload.train, workload.validation, workload.test)
    ends = [(workload.days[rows].min(), workload.days[rows].max()) for rows in windows]
    assert ends == [(0, 14), (15, 18), (19, 24)]


def test_the_description_counts_what_there_is(workload: VerificationWorkload) -> None:
    described = workload.describe()
    assert described["counts"]["test"] == {"identities": 48, "pairs": 1152, "same": 288}
    assert described["data_sha256"] == workload.data_sha256


def test_the_hash_is_of_pictures_pairs_and_windows(workload: VerificationWorkload) -> None:
    config = workload.config
    others = [
        _with(workload),
        _with(workload, pictures=config.pictures.model_copy(update={"seed": 5})),
        _with(workload, pairs=config.pairs.model_copy(update={"strangers": 3})),
        _with(workload, families=config.families.model_copy(update={"train": 29, "test": 13})),
    ]
    hashes = [other.data_sha256 for other in others]
    assert hashes[0] == workload.data_sha256
    assert len(set(hashes)) == len(hashes)


def test_the_original_tells_people_apart_whom_it_never_saw(
    workload: VerificationWorkload,
) -> None:
    scores = outputs_of(workload.original(), workload.gather, workload.test)
    labels = workload.labels[workload.test]
    assert auc(labels, scores) > 0.8
    assert abs(scores.mean() - labels.mean()) < 0.1
    baseline = workload.baseline_outputs(workload.test, seed=0)
    assert auc(labels, baseline) > 0.6


def test_pictures_of_another_size_than_the_original_s_are_refused(
    workload: VerificationWorkload,
) -> None:
    pictures = workload.config.pictures.model_copy(update={"size": 24})
    with pytest.raises(RecipeError, match=r"pictures.size is 24, but the original .* with 16"):
        _with(workload, pictures=pictures).original()


def test_pictures_that_cannot_be_halved_often_enough_are_refused(
    workload: VerificationWorkload,
) -> None:
    with pytest.raises(RecipeError, match=r"size is 16: 5 stages .* must be a multiple of 32"):
        workload.student({"widths": [2, 2, 2, 2, 2]})


def test_students_have_the_sizes_and_the_weights_asked_for(
    workload: VerificationWorkload,
) -> None:
    one, same, other = (
        workload.student({"widths": [4, 8], "embedding": 6, "seed": seed}) for seed in (1, 1, 2)
    )
    assert (one.config.widths, one.config.embedding, one.config.convolutions) == ((4, 8), 6, 1)
    assert (one.embed.weight == same.embed.weight).all()
    assert (one.embed.weight != other.embed.weight).any()


@pytest.mark.parametrize("options", [{"depth": 3}, {"widths": []}, {"widths": [0]}])
def test_impossible_students_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StudentConfig.model_validate(options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"pairs": {"same": 8}}, "pairs.same is 8: an identity has 8 pictures"),
        ({"families": {"test": 1}}, "families.test"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VerificationConfig.model_validate(settings)


def test_a_recipe_runs_from_pictures_to_a_store(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    student = {"widths": [4, 8], "embedding": 8}
    distill = {"student": student, "epochs": 3, "batch_rows": 64, "negatives_per_positive": 2}
    document = {
        "version": 1,
        "model": "faces",
        "workload": tiny_settings,
        "test": {"replicates": 100},
        "samples": 64,
        "latency_rows": [1, 4],
        "latency_seconds": 0.01,
        "variants": {
            "original": {},
            "distilled": {"from": "original", "steps": [{"distill": distill}]},
        },
    }
    recipe, store = tmp_path / "recipe.yaml", tmp_path / "store"
    recipe.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["run", str(recipe), "--store", str(store), "--work", str(tmp_path / "w")]) == 0
    published = ModelStore(str(store))
    model = published.model("faces")
    assert (model.workload, model.routing_key) == ("verification", "identity")
    assert [spec.shape for spec in model.inputs] == [(-1, 1, 16, 16)] * 2
    original, small = (published.manifest("faces", name) for name in ("original", "distilled"))
    assert {"auc", "average_precision", "recall_at_fpr_1pct"} <= set(original.quality.metrics)
    assert small.parameters < original.parameters / 2
    assert small.quality.metrics["auc"].value > 0.7
    baselines = published.baselines("faces")
    assert baselines is not None
    assert baselines.baselines[0].name == "discriminant-analysis"
    assert "discriminant analysis reaches" in baselines.notes[0]
