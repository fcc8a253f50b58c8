"""Small networks of other people's making, with inputs for each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.models.reader import HistoryReader, ReaderConfig
from compression.models.siamese import SiameseConfig, SiameseNetwork
from compression.models.transformer import TransactionTransformer, TransformerConfig

ROWS = 5


class ConvNet(nn.Module):
    """A residual block with BatchNorm, a depthwise convolution, and a flattening into Linears."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(12)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.down = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.hidden = nn.Linear(6 * 16, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, images: Tensor) -> Tensor:
        """float32[n, 3, 8, 8] → float32[n, 4]."""
        x = functional.relu(self.stem_norm(self.stem(images)))
        x = functional.relu(x + self.outer(functional.relu(self.inner_norm(self.inner(x)))))
        x = self.down(self.depthwise(x))
        logits: Tensor = self.head(functional.relu(self.hidden(x.flatten(1))))
        return logits


class Attention(nn.Module):
    """Attention as many write it: q_proj, k_proj, v_proj, num_heads, and a product by hand."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = width // num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, t, width] → the same shape."""
        rows, tokens, _ = x.shape
        q, k, v = (
            layer(x).view(rows, tokens, self.num_heads, self.head_dim).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.transpose(-1, -2) * self.head_dim**-0.5).softmax(-1)
        mixed: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return mixed


class Encoder(nn.Module):
    """A pre-norm transformer over float32[n, 6, 5], mean-pooled to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 16)
        self.norm = nn.LayerNorm(16)
        self.attention = Attention(16, 4)
        self.feed_norm = nn.LayerNorm(16)
        self.feed = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[n, 6, 5] → float32[n, 3]."""
        x = self.embed(tokens)
        x = x + self.attention(self.norm(x))
        x = x + self.feed(self.feed_norm(x))
        logits: Tensor = self.head(x.mean(1))
        return logits


class HiddenHeads(nn.Module):
    """Attention whose parts have names that nobody knows; its shapes would fit after any cut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[n, 6, 8] → float32[n]."""
        a, b, c = (
            layer(tokens).reshape(len(tokens), 6, 2, -1).transpose(1, 2)
            for layer in (self.a, self.b, self.c)
        )
        mixed = functional.scaled_dot_product_attention(a, b, c).transpose(1, 2).flatten(2)
        logits: Tensor = self.head(self.d(mixed).relu()).mean((1, 2))
        return logits


def normed_mlp() -> nn.Module:
    """A LayerNorm between wide layers."""
    return nn.Sequential(
        nn.Linear(5, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1),
        nn.Flatten(0),
    )  # fmt: skip


def grouped() -> nn.Module:
    """A GroupNorm, and a convolution in two groups."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4, 3),
    )  # fmt: skip


def library_encoder() -> nn.Module:
    """PyTorch's own encoder layer, whose attention is one fused module."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(6 * 8, 1))


def transactions() -> nn.Module:
    """The fraud workload's architecture."""
    return TransactionTransformer(TransformerConfig(5, 3, 4, 16, 2, 4, 32))


class Recurrent(nn.Module):
    """An LSTM between two linear layers, and a hidden layer after it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.hidden = nn.Linear(12, 10)
        self.head = nn.Linear(10, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[n, 6, 5] → float32[n]."""
        states, _ = self.lstm(self.embed(tokens))
        logits: Tensor = self.head(self.hidden(states[:, -1]).relu()).flatten()
        return logits


def siamese() -> nn.Module:
    """The verification workload's architecture: pictures in pairs, beside each other in a batch."""
    return SiameseNetwork(SiameseConfig(size=16, widths=(6, 8), convolutions=2, embedding=10))


def reader() -> nn.Module:
    """A student of the fraud workload: keys and values are parameters, not layers."""
    return HistoryReader(ReaderConfig(5, 3, 4, 8, 2, 4, 12, recent_rows=2))


def _images(*shape: int) -> tuple[Tensor, ...]:
    return (torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(1)),)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "conv": (ConvNet, _images(3, 8, 8)),
    "encoder": (Encoder, _images(6, 5)),
    "hidden_heads": (HiddenHeads, _images(6, 8)),
    "normed_mlp": (normed_mlp, _images(5)),
    "grouped": (grouped, _images(3, 6, 6)),
    "library_encoder": (library_encoder, _images(6, 8)),
    "reader": (reader, (*_images(5), *_images(4, 3))),
    "recurrent": (Recurrent, _images(6, 5)),
    "siamese": (siamese, (*_images(1, 16, 16), *_images(1, 16, 16))),
    "transactions": (transactions, (*_images(5), *_images(4, 3))),
}


def network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A fresh network of that name, always the same, in eval mode, and its example inputs."""
    build, example = NETWORKS[name]
    torch.manual_seed(7)
    module = build()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):  # as after training, not as at birth
            part.running_mean = torch.randn(part.num_features) / 4
            part.running_var = torch.rand(part.num_features) + 0.5
    return module.eval(), example
