from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compression.errors import RecipeError
from compression.study.config import load_study

SHIPPED = Path(__file__).parents[3] / "compression" / "study" / "fraud-distillation.yaml"


def _document(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "workload": {"name": "fraud"},
        "training": {"epochs": 2},
        "seeds": [0, 1],
        "against": "alone",
        "arms": {"alone": {"technique": "train"}, "soft": {"technique": "distill"}},
        **changes,
    }


def _write(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_every_arm_is_trained_with_every_seed(tmp_path: Path) -> None:
    recipe = load_study(_write(tmp_path, _document())).recipe
    assert list(recipe.variants) == ["original", "alone-0", "alone-1", "soft-0", "soft-1"]
    assert recipe.variants["soft-1"].steps == ({"distill": {"epochs": 2, "seed": 1}},)


def test_the_shipped_study_is_one() -> None:
    study = load_study(SHIPPED)
    assert study.opponent("near") == "alone"
    assert study.opponent("long-near") == "long-alone"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"against": "nobody"}, "no arm 'nobody'; there are alone, soft"),
        ({"seeds": [0]}, "seeds"),
        ({"training": {"epoch": 2}}, "unknown key 'epoch'"),
        ({"arms": {"alone": {"technique": "prune"}}}, "technique"),
        ({"seed_": 1}, "unknown key 'seed_'"),
    ],
)
def test_what_is_wrong_is_named_before_any_training(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = _write(tmp_path, _document(**changes))
    with pytest.raises(RecipeError, match=message) as caught:
        load_study(path)
    assert "study.yaml" in str(caught.value)
