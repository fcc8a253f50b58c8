"""The models of the published table, and the kind of network that slimserve ships.

Settings were chosen on two weeks that end before the first one that is tested (`split_of(-4)` and
`split_of(-3)`), and are the same for all folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from compression.models.transformer import Standardise
from compression.published.figures import Figures
from compression.training.loop import TrainConfig, Trainer
from compression.training.objectives import HardLabels
from compression.training.rows import TrainingRows, pooled
from compression.training.scoring import Floats, Report, Rows, outputs_of
from compression.workloads.fraud.features import PUBLISHED_FEATURES
from compression.workloads.fraud.workload import FraudWorkload

ALL = 1e9
"""Negatives per positive: as many as there are."""

Score = Callable[[FraudWorkload, int, Report], Floats]
"""(workload, seed, report) → scores float32[len(workload.test)], after training on its week."""


@dataclass(frozen=True)
class Model:
    """One row of the table; `published` are the means of four folds."""

    name: str
    description: str
    score: Score
    published: Figures


class Perceptron(nn.Module):
    """One hidden layer: logit of fraud from the published inputs."""

    def __init__(self, features: int, hidden: int = 500, dropout: float = 0.2) -> None:
        super().__init__()
        self.standardise = Standardise(features)
        self.hidden = nn.Linear(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """float32[n, features] → logit float32[n]."""
        logit: Tensor = self.head(self.dropout(self.hidden(self.standardise(rows)).relu()))
        return logit.flatten()


def published_inputs(workload: FraudWorkload, rows: Rows) -> dict[str, npt.NDArray[np.float32]]:
    """The 15 published inputs, float32[m, 15]; amounts and counts come as log1p."""
    return {"features": workload.gather(rows)["transaction"][:, : len(PUBLISHED_FEATURES)]}


def _classic(build: Callable[[int], Any]) -> Score:
    def score(workload: FraudWorkload, seed: int, report: Report) -> Floats:
        train, test = (
            published_inputs(workload, rows)["features"] for rows in (workload.train, workload.test)
        )
        model = build(seed).fit(train, workload.labels[workload.train])
        report(1, 1)
        scores: Floats = model.predict_proba(test)[:, 1].astype(np.float32)
        return scores

    return score


def _perceptron(workload: FraudWorkload, seed: int, report: Report) -> Floats:
    torch.manual_seed(seed)
    body = Perceptron(len(PUBLISHED_FEATURES))
    train = published_inputs(workload, workload.train)
    body.standardise.fit(torch.from_numpy(train["features"]))
    config = TrainConfig(
        epochs=20, batch_rows=256, learning_rate=2e-3, negatives_per_positive=ALL, seed=seed
    )
    _fit(workload, body, pooled(train), config, report)
    return outputs_of(body, lambda rows: published_inputs(workload, rows), workload.test)


def _transformer(workload: FraudWorkload, seed: int, report: Report) -> Floats:
    body = workload.student({"width": 64, "layers": 1, "heads": 4, "seed": seed})
    config = TrainConfig(
        epochs=4, batch_rows=256, learning_rate=1e-3, negatives_per_positive=ALL, seed=seed
    )
    _fit(workload, body, pooled(workload.gather(workload.train)), config, report)
    return outputs_of(body, workload.gather, workload.test)


def _fit(
    workload: FraudWorkload, body: nn.Module, gather: Any, config: TrainConfig, report: Report
) -> None:
    labels, head = workload.labels[workload.train], workload.head
    rows = TrainingRows(gather, head.targets(labels), head.rare(labels))
    objective = HardLabels(head)
    told = lambda done, steps, loss: report(done, steps)  # noqa: E731
    Trainer(body, rows, objective, config, report=told).fit()


MODELS: tuple[Model, ...] = (
    Model(
        "logistic-regression",
        "logistic regression, 15 inputs",
        _classic(lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        Figures(auc=0.868, average_precision=0.623, card_precision_100=0.297),
    ),
    Model(
        "gradient-boosting",
        "gradient boosting, 15 inputs (published: XGBoost)",
        _classic(
            lambda seed: HistGradientBoostingClassifier(
                max_iter=200,
                learning_rate=0.05,
                max_leaf_nodes=8,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=seed,
            )
        ),
        Figures(auc=0.869, average_precision=0.687, card_precision_100=0.303),
    ),
    Model(
        "perceptron",
        "one hidden layer of 500, 15 inputs",
        _perceptron,
        Figures(auc=0.876, average_precision=0.675, card_precision_100=0.303),
    ),
    Model(
        "transformer",
        "transformer of width 64, one block, with history (published: LSTM on history)",
        _transformer,
        Figures(auc=0.876, average_precision=0.665, card_precision_100=0.297),
    ),
)
