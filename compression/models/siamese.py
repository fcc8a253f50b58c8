"""A siamese convolutional network: one embedding for both pictures, compared by their cosine.

Source: Bromley et al., "Signature verification using a siamese time delay neural network", 1993;
a scaled cosine as the logit follows Wang et al., "NormFace", 2017.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class SiameseConfig:
    """Sizes. Every stage halves the picture: `size` must be a multiple of 2 ** len(widths)."""

    size: int
    """Pixels a side."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    convolutions: int
    """In each stage."""
    embedding: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for logs and hashes."""
        return asdict(self)


def _convolution(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SiameseNetwork(nn.Module):
    """Logit that two pictures show the same identity."""

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = 1
        for width in config.widths:
            for number in range(config.convolutions):
                layers += _convolution(channels, width, 1 if number else 2)
                channels = width
        self.features = nn.Sequential(*layers)
        side = config.size // 2 ** len(config.widths)
        self.embed = nn.Linear(channels * side * side, config.embedding)
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def embedding(self, pictures: Tensor) -> Tensor:
        """Grey levels float32[n, 1, size, size] → float32[n, embedding] of length 1.

        Each picture is brought to mean 0 and deviation 1 first: exposure says nothing of whom.
        """
        standardised = functional.layer_norm(pictures, pictures.shape[1:])
        return functional.normalize(self.embed(self.features(standardised).flatten(1)), dim=1)

    def forward(self, probe: Tensor, reference: Tensor) -> Tensor:
        """Two float32[n, 1, size, size] → logit float32[n]."""
        # One pass over both: half as many, larger operations.
        both = self.embedding(torch.cat((probe, reference)))
        first, second = both.reshape(2, -1, both.shape[1])
        logit: Tensor = (first * second).sum(dim=1) * self.scale + self.bias
        return logit
