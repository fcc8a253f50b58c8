"""A small student that reads a history with one question instead of a stack of blocks.

Each past row becomes a token by itself: a linear layer, its position, a GELU. The transaction,
with the last rows beside it, asks the tokens once (or `hops` times) by attention. Since there is
one query, keys and values need not be computed for each token: q·(K t) = (Kᵀq)·t, so the key and
value matrices are applied to the query's side, once instead of `history_length` times. For 32
tokens that halves the work of a transformer's read-out block. `make bench-compression` holds it
against a transformer student after the same training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.models.transformer import Standardise


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes. `recent_rows` of the history also stand beside the transaction as they are."""

    transaction_features: int
    history_features: int
    history_length: int
    width: int
    heads: int
    head_width: int
    feed_forward: int
    hops: int = 1
    recent_rows: int = 8

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for logs and hashes."""
        return asdict(self)


class Hop(nn.Module):
    """One question to the tokens, and a feed-forward part; both add to the state."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        width, heads, inner = config.width, config.heads, config.head_width
        self.heads, self.head_width = heads, inner
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q = nn.Linear(width, heads * inner)
        self.k = nn.Parameter(torch.randn(heads, inner, width) * width**-0.5)
        self.v = nn.Parameter(torch.randn(heads, width, inner) * width**-0.5)
        self.out = nn.Linear(heads * inner, width)
        self.widen = nn.Linear(width, config.feed_forward)
        self.narrow = nn.Linear(config.feed_forward, width)

    def forward(self, state: Tensor, tokens: Tensor) -> Tensor:
        """state float32[n, width], tokens float32[n, t, width] → float32[n, width]."""
        rows, heads, inner = state.shape[0], self.heads, self.head_width
        q = self.q(self.norm_attention(state)).view(rows, heads, inner).transpose(0, 1)
        asked = torch.bmm(q, self.k).transpose(0, 1) * inner**-0.5
        shares = torch.softmax(torch.bmm(asked, tokens.transpose(1, 2)), dim=-1)
        found = torch.bmm(shares, tokens).transpose(0, 1)
        values = torch.bmm(found, self.v).transpose(0, 1).reshape(rows, heads * inner)
        state = state + self.out(values)
        hidden = functional.gelu(self.widen(self.norm_feed_forward(state)))
        mixed: Tensor = state + self.narrow(hidden)
        return mixed


class HistoryReader(nn.Module):
    """Logit of fraud from a transaction and its history."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        self.standardise_transaction = Standardise(config.transaction_features)
        self.standardise_history = Standardise(config.history_features)
        beside = config.recent_rows * config.history_features
        self.embed_transaction = nn.Linear(config.transaction_features + beside, config.width)
        self.embed_history = nn.Linear(config.history_features, config.width)
        self.position = nn.Parameter(torch.zeros(config.history_length, config.width))
        nn.init.normal_(self.position, std=0.02)
        self.hops = nn.ModuleList(Hop(config) for _ in range(config.hops))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 1)

    def fit_inputs(self, transaction: Tensor, history: Tensor) -> None:
        """Take standardisation constants from training rows."""
        self.standardise_transaction.fit(transaction)
        self.standardise_history.fit(history)

    def forward(self, transaction: Tensor, history: Tensor) -> Tensor:
        """transaction float32[n, f], history float32[n, k, g] → logit float32[n]."""
        past, now = self.standardise_history(history), self.standardise_transaction(transaction)
        tokens = functional.gelu(self.embed_history(past) + self.position)
        recent = past[:, self.config.history_length - self.config.recent_rows :].flatten(1)
        state = self.embed_transaction(torch.cat((now, recent), dim=1))
        for hop in self.hops:
            state = hop(state, tokens)
        logit: Tensor = self.head(self.norm(state)).flatten()
        return logit
