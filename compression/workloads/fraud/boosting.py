"""Gradient boosting as the yardstick: what a model without any sequence layer reaches."""

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from compression.workloads.fraud.features import FraudFeatures

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class GradientBoostingBaseline:
    """Boosted trees on the 20 inputs and the flattened last transactions of the customer."""

    def __init__(self, recent: int = 8, iterations: int = 150, rows_at_once: int = 65_536) -> None:
        """recent: past transactions used; iterations: trees; rows_at_once bounds the memory."""
        self._recent = recent
        self._iterations = iterations
        self._rows_at_once = rows_at_once
        self._model: HistGradientBoostingClassifier | None = None

    def fit(
        self, features: FraudFeatures, rows: Rows, labels: npt.NDArray[np.bool_], seed: int
    ) -> "GradientBoostingBaseline":
        """Train on rows int64[m] with labels bool[m], one for each of rows; gives itself."""
        # No early stopping: it would hold rows out at random, across customers and days.
        model = HistGradientBoostingClassifier(
            max_iter=self._iterations, early_stopping=False, random_state=seed
        )
        chunks = [self._inputs(features, chunk) for chunk in self._chunks(rows)]
        self._model = model.fit(np.concatenate(chunks), labels)
        return self

    def score(self, features: FraudFeatures, rows: Rows) -> Floats:
        """float32[m]: the probability of fraud for each of rows int64[m]."""
        if self._model is None:
            raise RuntimeError("score needs a fitted model: call fit first")
        scores = np.zeros(len(rows), np.float32)
        done = 0
        for chunk in self._chunks(rows):
            probability = self._model.predict_proba(self._inputs(features, chunk))[:, 1]
            scores[done : done + len(chunk)] = probability
            done += len(chunk)
        return scores

    def _chunks(self, rows: Rows) -> list[Rows]:
        return [rows[i : i + self._rows_at_once] for i in range(0, len(rows), self._rows_at_once)]

    def _inputs(self, features: FraudFeatures, rows: Rows) -> Floats:
        """float32[m, 20 + 7 * recent]"""
        recent = features.history(rows)[:, -self._recent :]
        return np.concatenate([features.transaction[rows], recent.reshape(len(rows), -1)], axis=1)
