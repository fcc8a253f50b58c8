from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compression.study.config import Study
from compression.study.results import StudyResults, arm_results, results_table
from compression.study.run import run_study
from tests.compression.techniques.conftest import TRAINING


@pytest.fixture(scope="module")
def study(tiny_settings: dict[str, Any]) -> Study:
    return Study.model_validate(
        {
            "version": 1,
            "workload": tiny_settings,
            "validation": {"negatives": 1000},
            "training": {**TRAINING, "epochs": 1},
            "seeds": [0, 1],
            "against": "alone",
            "arms": {
                "alone": {"technique": "train"},
                "near": {"technique": "distill", "options": {"near_share": 0.3}},
            },
        }
    )


def test_a_study_trains_compares_and_resumes(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_study(study, "study.yaml", tmp_path / "work", tmp_path / "out")
    alone, near = results.arms
    assert len(alone.ratios) == len(near.ratios) == 2
    assert alone.ratios[0] != alone.ratios[1], "seeds differ"
    assert alone.gain == 0
    assert near.gain == pytest.approx(near.mean - alone.mean)
    assert near.gain_low <= near.gain <= near.gain_high
    assert near.rows_seen == alone.rows_seen, "on equal terms"
    written = StudyResults.model_validate(json.loads((tmp_path / "out/results.json").read_text()))
    assert written == results
    assert (tmp_path / "out/study.md").read_text() == f"{results_table(results).markdown()}\n"
    capsys.readouterr()
    again = run_study(study, "study.yaml", tmp_path / "work", tmp_path / "out")
    assert again.arms == results.arms
    assert "train" not in capsys.readouterr().err, "nothing was trained again"


def test_gains_are_paired_by_seed(study: Study) -> None:
    ratios = {"alone-0": 0.9, "alone-1": 0.8, "near-0": 0.91, "near-1": 0.86}
    _, near = arm_results(study, ratios, dict.fromkeys(ratios, 1.0), dict.fromkeys(ratios, 10))
    assert near.gain == pytest.approx(0.035)
    assert near.gain_low == pytest.approx(0.01)
    assert near.gain_high == pytest.approx(0.06)
