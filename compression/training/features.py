"""Matching of intermediate features: what a student thinks on the way, beside what it says.

Feature: the input of a network's last linear layer. Teacher and student have different widths, so
what is matched is which rows of a batch look alike to them.

Source: Tung, Mori, "Similarity-Preserving Knowledge Distillation", 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import TechniqueError
from compression.training.objectives import Objective
from compression.training.rows import Batch, Inputs
from compression.training.scoring import Floats, Gather, Report, Rows, in_chunks


class FeatureTap:
    """Sees what goes into the last linear layer of `body` each time it runs, until it is left."""

    def __init__(self, body: nn.Module) -> None:
        layers = [module for module in body.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise TechniqueError(
                f"similarity_weight: {type(body).__name__} has no linear layer whose input could "
                "be matched: leave it out for this network"
            )
        self._seen: Tensor | None = None
        self._hook = layers[-1].register_forward_pre_hook(self._see)

    def _see(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._seen = inputs[0].flatten(1)

    def features(self) -> Tensor:
        """float32[n, width] of the last call."""
        if self._seen is None:
            raise TechniqueError("similarity_weight: the last linear layer was not used")
        return self._seen

    def __enter__(self) -> FeatureTap:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


class SimilarFeatures:
    """An objective, plus `weight` · (mean squared difference of both networks' similarities).

    The similarity of two rows is the product of their features; each row of the batch's matrix is
    scaled to length 1.
    """

    def __init__(self, objective: Objective, tap: FeatureTap, weight: float) -> None:
        self._objective, self._tap, self._weight = objective, tap, weight

    def __call__(self, raw: Tensor, batch: Batch) -> Tensor:
        """Scalar loss; the batch must carry the teacher's features."""
        if batch.features is None:
            raise TechniqueError("matching features needs the teacher's on every training row")
        own, teacher = _similarity(self._tap.features()), _similarity(batch.features.float())
        # A row's similarities have length 1: summed over a row, the difference is 0 to 4.
        apart = (own - teacher).square().sum(1).mean()
        return self._objective(raw, batch) + self._weight * apart


def _similarity(features: Tensor) -> Tensor:
    """float32[n, width] → float32[n, n]."""
    return functional.normalize(features @ features.T, dim=1)


def features_of(
    body: nn.Module, gather: Gather, rows: Rows, report: Report
) -> npt.NDArray[np.float16]:
    """float16[len(rows), width]: what goes into the last linear layer, computed in bfloat16."""
    body.eval()
    with FeatureTap(body) as tap:

        def score(inputs: Inputs) -> Floats:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                body(*(torch.from_numpy(array) for array in inputs.values()))
            found: Floats = tap.features().float().numpy()
            return found

        return in_chunks(score, gather, rows, report=report).astype(np.float16)
