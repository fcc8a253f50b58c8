from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compression.__main__ import main
from compression.published import comparison
from compression.published.comparison import PublishedResults
from compression.published.figures import Figures, judged
from compression.published.folds import FOLDS, open_fold
from compression.published.models import MODELS, Model, Perceptron, published_inputs
from compression.training.scoring import Floats, Report
from compression.workloads.fraud.simulator import SimulatorConfig
from compression.workloads.fraud.workload import FraudWorkload

SMALL = SimulatorConfig(seed=1, customers=300, terminals=600, radius=20.0, scenarios="published")
TOLD = Figures(auc=0.9, average_precision=0.5, card_precision_100=0.25)


@pytest.fixture(scope="module")
def fold() -> FraudWorkload:
    return open_fold(0, SMALL)


def test_all_that_is_known_is_a_perfect_score(fold: FraudWorkload) -> None:
    perfect = judged(fold, fold.labels[fold.test].astype(np.float32))
    assert (perfect.auc, perfect.average_precision) == (1.0, 1.0)
    assert 0 < perfect.card_precision_100 < 1  # fewer than 100 frauds a day


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_ranks_frauds_above_others(fold: FraudWorkload, model: Model) -> None:
    reports: list[tuple[int, int]] = []
    scores = model.score(fold, 0, lambda done, total: reports.append((done, total)))
    assert scores.shape == fold.test.shape
    assert judged(fold, scores).auc > 0.6
    assert reports[-1][0] == reports[-1][1]


def test_networks_and_trees_see_the_published_inputs_alone(fold: FraudWorkload) -> None:
    assert published_inputs(fold, fold.test[:5])["features"].shape == (5, 15)
    assert Perceptron(15).hidden.out_features == 500


def test_results_hold_means_beside_published_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def at_random(workload: FraudWorkload, seed: int, report: Report) -> Floats:
        return np.random.default_rng(seed).random(len(workload.test), np.float32)

    model = Model("random", "drawn scores", at_random, TOLD)
    monkeypatch.setattr(comparison, "MODELS", (model,))
    monkeypatch.setattr(comparison, "open_fold", lambda fold, _: open_fold(fold, SMALL))
    assert main(["published", "--seed", "3", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "results.json").read_text())
    results = PublishedResults.model_validate(document)
    (found,) = results.models
    assert len(found.folds) == FOLDS
    assert found.mean("auc") == pytest.approx(np.mean([one.auc for one in found.folds]))
    assert found.deviation("auc") > 0
    assert results.simulator.scenarios == "published"
    line = (tmp_path / "published.md").read_text().splitlines()[2]
    assert line.startswith(f"| drawn scores | {found.mean('auc'):.3f} ± ")
    assert "| 0.900 |" in line
    assert "mean ± deviation over weeks" in capsys.readouterr().out
