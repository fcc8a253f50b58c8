"""The fraud data with someone else's original: convolutions with BatchNorm over the history."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compression.models.scorer import Scorer
from compression.workloads.fraud.workload import FraudWorkload


class HistoryConvolution(nn.Module):
    """Two convolutions over the history's transactions, beside the one that is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(7, 12, 3, padding=1)
        self.norm = nn.BatchNorm1d(12)
        self.second = nn.Conv1d(12, 10, 3)
        self.mix = nn.Linear(10 * 6 + 20, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, transaction: Tensor, history: Tensor) -> Tensor:
        """transaction float32[n, 20], history float32[n, 8, 7] → logit float32[n]."""
        past = torch.relu(self.norm(self.first(history.transpose(1, 2))))
        past = torch.relu(self.second(past)).flatten(1)
        mixed = torch.relu(self.mix(torch.cat((past, transaction), dim=1)))
        logit: Tensor = self.head(mixed).flatten()
        return logit


class ConvolutionWorkload(FraudWorkload):
    """Everything but the original is the fraud workload's."""

    def __init__(self, inner: FraudWorkload) -> None:
        self.__dict__.update(inner.__dict__, original_sha256="c0" * 32)

    def original(self) -> Scorer:
        """Not trained, but always the same."""
        torch.manual_seed(3)
        return self.head.scorer(HistoryConvolution()).eval()
