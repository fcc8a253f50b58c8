"""A transformer over one transaction and the card's history before it.

The history is a row of tokens, the transaction the last one; its final state gives the logit.
The last block therefore computes queries and the feed-forward part for that token alone. q, k and
v are separate Linears, which structured pruning needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes; `width` must be a multiple of `heads`."""

    transaction_features: int
    history_features: int
    history_length: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    dropout: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for logs and hashes."""
        return asdict(self)


class Standardise(nn.Module):
    """(x - mean) / std per feature, with constants taken from training rows."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("inverse_std", torch.ones(features))

    def fit(self, rows: Tensor) -> None:
        """Take the constants from rows float32[..., features]."""
        flat = rows.reshape(-1, rows.shape[-1])
        self.mean.copy_(flat.mean(0))
        std = flat.std(0)
        # A feature that never varied here must not explode when it varies later.
        self.inverse_std.copy_(torch.where(std > 1e-6, 1.0 / std, torch.ones_like(std)))

    def forward(self, rows: Tensor) -> Tensor:
        """float32[..., features] → the same shape."""
        return (rows - self.mean) * self.inverse_std


class Attention(nn.Module):
    """Multi-head self-attention; after pruning `heads` may be smaller than it was built."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def _split(self, projected: Tensor) -> Tensor:
        rows, tokens, inner = projected.shape
        return projected.reshape(rows, tokens, self.heads, inner // self.heads).transpose(1, 2)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """queries float32[n, q, width], tokens float32[n, t, width] → float32[n, q, width]."""
        mixed = functional.scaled_dot_product_attention(
            self._split(self.q(queries)), self._split(self.k(tokens)), self._split(self.v(tokens))
        )
        merged: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return merged


class Block(nn.Module):
    """Pre-norm transformer block; a read-out block keeps the last token only."""

    def __init__(self, config: TransformerConfig, *, readout: bool) -> None:
        super().__init__()
        self.readout = readout
        self.norm_attention = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.norm_feed_forward = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, config.feed_forward)
        self.narrow = nn.Linear(config.feed_forward, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[n, t, width] → float32[n, t or 1, width]."""
        normed = self.norm_attention(tokens)
        queries = normed
        if self.readout:
            tokens, queries = tokens[:, -1:], normed[:, -1:]
        tokens = tokens + self.dropout(self.attention(queries, normed))
        hidden = functional.gelu(self.widen(self.norm_feed_forward(tokens)))
        mixed: Tensor = tokens + self.dropout(self.narrow(hidden))
        return mixed


class TransactionTransformer(nn.Module):
    """Logit of fraud from a transaction and its history."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.standardise_transaction = Standardise(config.transaction_features)
        self.standardise_history = Standardise(config.history_features)
        self.embed_transaction = nn.Linear(config.transaction_features, config.width)
        self.embed_history = nn.Linear(config.history_features, config.width)
        self.position = nn.Parameter(torch.zeros(config.history_length, config.width))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(
            Block(config, readout=layer == config.layers - 1) for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 1)

    def fit_inputs(self, transaction: Tensor, history: Tensor) -> None:
        """Take standardisation constants from training rows."""
        self.standardise_transaction.fit(transaction)
        self.standardise_history.fit(history)

    def forward(self, transaction: Tensor, history: Tensor) -> Tensor:
        """transaction float32[n, f], history float32[n, k, g] → logit float32[n]."""
        past = self.embed_history(self.standardise_history(history)) + self.position
        now = self.embed_transaction(self.standardise_transaction(transaction)).unsqueeze(1)
        tokens = torch.cat((past, now), dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        logit: Tensor = self.head(self.norm(tokens)).flatten()
        return logit
