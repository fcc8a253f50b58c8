"""What a unit is worth to the network: the least worthy go first.

magnitude   squared weights that write and read the unit. Needs no data.
taylor      |w · dL/dw|, the first-order change of the loss if a weight were zero, summed over the
            unit's weights and over calibration batches. Source: Molchanov et al., "Importance
            Estimation for Neural Network Pruning", CVPR 2019. Its absolute value is taken in every
            batch: in a trained network the mean gradient is near zero, and would tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch_pruning
from torch import Tensor, nn

from compression.tracing import TRACING
from compression.training.objectives import Objective
from compression.training.rows import Batch

Importance = Literal["magnitude", "taylor"]
Score = Callable[[Any], Tensor | None]
"""torch-pruning's group → worth float32[channels] of its channels; None if it has no weights."""


class Criterion(Protocol):
    """Looks at a network as it is now; what it gives holds until a weight changes."""

    def __call__(self, body: nn.Module) -> Score:
        """The worth of the network's units. May leave gradients behind, for the score to read."""
        ...


@dataclass(frozen=True)
class Magnitude:
    """Squared L2 norm of a unit's weights, averaged over the layers it is part of."""

    def __call__(self, body: nn.Module) -> Score:
        """Looks at the weights alone."""
        score: Score = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        return score


@dataclass(frozen=True)
class Taylor:
    """First-order change of `objective` on the calibration `batches`, of training rows."""

    batches: Sequence[Batch]
    objective: Objective

    def __call__(self, body: nn.Module) -> Score:
        """Runs every batch forth and back; leaves the sum of |gradient| as the gradient."""
        body.eval()
        parameters = [p for p in body.parameters() if p.dtype.is_floating_point]
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        for batch in self.batches:
            body.zero_grad(set_to_none=True)
            with TRACING.step(), torch.enable_grad():
                loss = self.objective(body(*batch.inputs).float(), batch)
                loss.backward()  # type: ignore[no-untyped-call]
            for total, parameter in zip(totals, parameters, strict=True):
                if parameter.grad is not None:
                    total += parameter.grad.abs()
        # The weights stand still, so |w| · sum |g| is the sum of |w · g|.
        for total, parameter in zip(totals, parameters, strict=True):
            parameter.grad = total
        score: Score = torch_pruning.importance.GroupTaylorImportance()
        return score
