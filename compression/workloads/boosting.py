"""A cheap classic model for any workload: what the inputs say to gradient boosting, flattened.

Embeddings, whose identities are others in every window, get principal components instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from compression.heads import Head, MultiClass
from compression.training.rows import Inputs

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
Predict = Callable[[Floats], Array]

TRAINING_ROWS = 100_000
"""Bound on the rows to learn from: all rare ones, the others drawn."""
ITERATIONS = 150
COMPONENTS = 64
ROWS_AT_ONCE = 65_536


class Boosting:
    """Learns what a head publishes. Inputs of each row are flattened to float32[m, f]."""

    def __init__(self, head: Head, gather: Callable[[Rows], Inputs]) -> None:
        self._head, self._gather = head, gather

    def fit(self, rows: Rows, labels: Array, seed: int) -> Boosting:
        """Train on some of rows int64[m] with labels [m]; gives itself."""
        chosen = self._chosen(self._head.rare(labels), seed)
        self._predict = _FITS[self._head.name](
            self._head, self._flat(rows[chosen]), labels[chosen], seed
        )
        return self

    def outputs(self, rows: Rows) -> Floats:
        """float32[m, …], as the head publishes them."""
        chunks = [rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE)]
        return np.concatenate([self._predict(self._flat(c)).astype(np.float32) for c in chunks])

    def _chosen(self, rare: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng(seed)
        kinds = (np.flatnonzero(rare), np.flatnonzero(~rare))
        room = TRAINING_ROWS
        chosen = []
        for positions in kinds:
            wanted = min(room, len(positions))
            chosen.append(generator.choice(positions, wanted, replace=False))
            room -= wanted
        return np.concatenate(chosen)

    def _flat(self, rows: Rows) -> Floats:
        arrays = self._gather(rows).values()
        return np.concatenate([array.reshape(len(rows), -1) for array in arrays], axis=1)


def _fit_binary(_: Head, inputs: Floats, labels: Array, seed: int) -> Predict:
    model = classifier(seed).fit(inputs, labels)
    return lambda rows: np.asarray(model.predict_proba(rows)[:, 1])


def _fit_classes(head: Head, inputs: Floats, labels: Array, seed: int) -> Predict:
    """A class without a training row keeps the probability 0."""
    model = classifier(seed).fit(inputs, labels)
    present = np.asarray(model.classes_)
    classes = cast(MultiClass, head).classes

    def predict(rows: Floats) -> Array:
        outputs = np.zeros((len(rows), classes))
        outputs[:, present] = model.predict_proba(rows)
        return outputs

    return predict


def _fit_numbers(_: Head, inputs: Floats, labels: Array, seed: int) -> Predict:
    model = HistGradientBoostingRegressor(
        max_iter=ITERATIONS, early_stopping=False, random_state=seed
    ).fit(inputs, labels)
    return lambda rows: np.asarray(model.predict(rows))


def _fit_components(_: Head, inputs: Floats, labels: Array, seed: int) -> Predict:
    model = PCA(min(COMPONENTS, *inputs.shape), whiten=True, random_state=seed).fit(inputs)

    def predict(rows: Floats) -> Array:
        vectors: Array = model.transform(rows)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return vectors

    return predict


def classifier(seed: int, iterations: int = ITERATIONS) -> HistGradientBoostingClassifier:
    """Untrained; without early stopping, which would hold rows out across groups and days."""
    return HistGradientBoostingClassifier(
        max_iter=iterations, early_stopping=False, random_state=seed
    )


_FITS: dict[str, Callable[[Head, Floats, Array, int], Predict]] = {
    "binary": _fit_binary,
    "multiclass": _fit_classes,
    "regression": _fit_numbers,
    "embedding": _fit_components,
}
