"""What is published: a body that gives raw outputs, and what turns them into the model's outputs.

The finishing part is small (a probability, a softmax, a unit length) and belongs to the head of
the workload, see `compression.heads`. Techniques work on `body` and leave the rest alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.errors import TechniqueError


class Scorer(nn.Module):
    """Base: `forward(*inputs)` is `finish(body(*inputs))`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def finish(self, raw: Tensor) -> Tensor:
        """Raw outputs float32[n, …] → published outputs; here, the same."""
        return raw

    def forward(self, *inputs: Tensor) -> Tensor:
        """Same inputs as the body → outputs float32[n, …]."""
        return self.finish(self.body(*inputs))


class Opaque(Scorer):
    """In place of a module where a variant is a graph from elsewhere and nothing else.

    It has no weights, and whoever runs, trains or exports it is told why that cannot be.
    """

    def __init__(self) -> None:
        super().__init__(nn.Identity())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Refused: TechniqueError."""
        raise TechniqueError(
            "an imported ONNX file has no PyTorch module: it cannot be trained, pruned, distilled "
            "from or exported; start the chain at a variant that has one"
        )


class CalibratedScorer(Scorer):
    """A logit, recalibrated (Platt) into a probability.

    `slope` and `intercept` undo negative down-sampling; they are fitted on validation rows.

    The logistic function is written out, because ONNX Runtime's Sigmoid is exact to 6e-8 of 1, not
    of the score: of 50,000 logits drawn around -8 it makes 30,818 different scores, this 49,873.
    """

    slope: Tensor
    intercept: Tensor

    def __init__(self, body: nn.Module, slope: float = 1.0, intercept: float = 0.0) -> None:
        super().__init__(body)
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float32))
        self.register_buffer("intercept", torch.tensor(intercept, dtype=torch.float32))

    def finish(self, raw: Tensor) -> Tensor:
        """Logit float32[n] → score float32[n] in (0, 1)."""
        return torch.reciprocal(1 + torch.exp(-(raw * self.slope + self.intercept)))


class ClassScorer(Scorer):
    """Logits of classes → probabilities, at a temperature fitted on validation rows."""

    temperature: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__(body)
        self.register_buffer("temperature", torch.tensor(1.0))

    def finish(self, raw: Tensor) -> Tensor:
        """Logits float32[n, c] → probabilities float32[n, c]."""
        return torch.softmax(raw / self.temperature, dim=1)


class UnitScorer(Scorer):
    """A vector → the same of length 1, so that a dot product is a cosine."""

    def finish(self, raw: Tensor) -> Tensor:
        """float32[n, d] → float32[n, d]."""
        return functional.normalize(raw, dim=1)
