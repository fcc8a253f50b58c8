"""Linear discriminant analysis as the yardstick: what verification reaches without a network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from compression.workloads.verification.pairs import Pairs

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
COMPONENTS, DISCRIMINANTS = 100, 64


class DiscriminantBaseline:
    """Principal components, discriminants between identities, the cosine, logistic regression.

    Source: Belhumeur, Hespanha, Kriegman, "Eigenfaces vs. Fisherfaces", 1997.
    """

    def __init__(self, pixels: Pixels) -> None:
        """pixels uint8[p, size, size]: all pictures, to which indices refer."""
        self._pixels = pixels

    def fit(
        self,
        pictures: npt.NDArray[np.int64],
        identity: npt.NDArray[np.int32],
        pairs: Pairs,
        same: npt.NDArray[np.bool_],
        seed: int,
    ) -> DiscriminantBaseline:
        """Train on pictures int64[m] of identity int32[m], and on pairs with same bool[n]."""
        flat = self._flat(pictures)
        components = min(COMPONENTS, *flat.shape)
        self._embedding = make_pipeline(
            PCA(components, whiten=True, random_state=seed),
            LinearDiscriminantAnalysis(
                n_components=min(DISCRIMINANTS, components, len(np.unique(identity)) - 1)
            ),
        ).fit(flat, identity)
        self._probability = LogisticRegression().fit(self._cosines(pairs), same)
        return self

    def score(self, pairs: Pairs) -> Floats:
        """float32[n]: the probability that both pictures of a pair show one identity."""
        scores: Floats = self._probability.predict_proba(self._cosines(pairs))[:, 1]
        return scores.astype(np.float32)

    def _flat(self, pictures: npt.NDArray[np.int64]) -> Floats:
        """float32[m, size²], each picture with mean 0 and deviation 1."""
        flat = self._pixels[pictures].reshape(len(pictures), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        flat /= np.maximum(flat.std(axis=1, keepdims=True), 1e-3)
        return flat

    def _cosines(self, pairs: Pairs) -> Floats:
        """float32[n, 1]"""
        pictures, position = np.unique(
            np.concatenate((pairs.probe, pairs.reference)), return_inverse=True
        )
        embedded = self._embedding.transform(self._flat(pictures))
        embedded /= np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-9)
        probe, reference = embedded[position].reshape(2, len(pairs.probe), -1)
        cosines: Floats = np.einsum("nd,nd->n", probe, reference)[:, None]
        return cosines
