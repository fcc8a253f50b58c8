"""`embedding`: a vector a row; two rows of one identity have a high cosine."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import DataError
from compression.heads.base import Array, NothingRare, Trials, Weights
from compression.models.scorer import Scorer, UnitScorer

CONTRAST = 0.1
"""Temperature of the contrastive loss, as published."""


class Embedding(NothingRare):
    """Labels int[n] say who a row shows; raw outputs float32[n, d] are published at length 1.

    A trial is a pair of rows: same identity or not, scored by the cosine. Pairs are drawn by a
    fixed seed from the labels, so that all models answer the same questions.
    """

    name: ClassVar[str] = "embedding"

    def __init__(self, others_per_row: int = 10, seed: int = 0) -> None:
        self._others_per_row, self._seed = others_per_row, seed

    def check(self, labels: Array, window: str) -> None:
        """At least two identities, at least one of them twice."""
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) < 2 or counts.max() < 2:
            raise DataError(
                f"the {window} window has {len(counts)} identities, the most frequent "
                f"{counts.max() if len(counts) else 0} times: pairs need two identities and two "
                "rows of one of them"
            )

    def targets(self, labels: Array) -> Array:
        """int64[n]."""
        return labels.astype(np.int64)

    def scorer(self, body: nn.Module) -> Scorer:
        """Vectors of length 1."""
        return UnitScorer(body)

    def calibrate(self, scorer: Scorer, raw: Array, labels: Array, weights: Weights) -> None:
        """Nothing to fit."""

    def hard_loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Supervised contrastive loss over the batch (Khosla et al. 2020)."""
        unit = functional.normalize(raw, dim=1)
        itself = torch.eye(len(raw), dtype=torch.bool)
        likeness = (unit @ unit.T / CONTRAST).masked_fill(itself, -torch.inf)
        log_share = (likeness - likeness.logsumexp(dim=1, keepdim=True)).masked_fill(itself, 0.0)
        same = (targets[:, None] == targets[None]) & ~itself
        pairs = same.sum(dim=1)
        per_row = -(log_share * same).sum(dim=1) / pairs.clamp(min=1)
        return per_row.sum() / (pairs > 0).sum().clamp(min=1)

    def soft_loss(self, raw: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Squared distance between both models' cosines of all pairs in the batch.

        Relational, so that student and teacher may differ in width (Park et al. 2019). Cosines
        have no temperature.
        """
        unit, expected = functional.normalize(raw, dim=1), functional.normalize(teacher, dim=1)
        return functional.mse_loss(unit @ unit.T, expected @ expected.T)

    def trials(self, outputs: Array, labels: Array) -> Trials:
        """Each row with another of its identity, and with `others_per_row` of other ones."""
        first, second = self._pairs(labels)
        cosines = np.einsum("nd,nd->n", outputs[first], outputs[second])
        return Trials(labels[first] == labels[second], cosines.astype(np.float32), first)

    def _pairs(self, labels: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        generator = np.random.default_rng(self._seed)
        rows = np.arange(len(labels))
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        following = np.roll(order, -1)
        same = labels[order] == labels[following]
        first, second = [order[same]], [following[same]]
        for _ in range(self._others_per_row):
            drawn = generator.integers(0, len(labels), len(labels))
            other = labels[rows] != labels[drawn]
            first.append(rows[other])
            second.append(drawn[other])
        return np.concatenate(first), np.concatenate(second)
