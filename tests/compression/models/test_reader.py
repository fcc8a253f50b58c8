from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compression.graphs.export import to_onnx
from compression.graphs.session import open_session, run
from compression.models.reader import HistoryReader, Hop, ReaderConfig
from compression.models.scorer import CalibratedScorer

CONFIG = ReaderConfig(
    transaction_features=5, history_features=3, history_length=6, width=8, heads=2, head_width=4,
    feed_forward=16, recent_rows=2,
)  # fmt: skip


def _inputs(rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 5, generator=generator), torch.randn(rows, 6, 3, generator=generator)


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("recent_rows", [0, 2, 6])
def test_a_logit_a_row_whatever_the_sizes(hops: int, recent_rows: int) -> None:
    model = HistoryReader(replace(CONFIG, hops=hops, recent_rows=recent_rows))
    model.fit_inputs(*_inputs(50))
    assert model(*_inputs()).shape == (4,)
    assert model(*_inputs(1)).shape == (1,)


def test_a_hop_is_attention_with_keys_and_values_per_token() -> None:
    """The absorbed form against the textbook's: softmax(q Kᵀ / √d) V, head by head."""
    torch.manual_seed(0)
    hop, tokens, state = Hop(CONFIG), torch.randn(3, 6, 8), torch.randn(3, 8)
    q = hop.q(hop.norm_attention(state)).view(3, 2, 1, 4)
    keys = torch.einsum("ntw,hdw->nhtd", tokens, hop.k)
    values = torch.einsum("ntw,hwd->nhtd", tokens, hop.v)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, keys, values)
    asked = state + hop.out(mixed.reshape(3, 8))
    hidden = torch.nn.functional.gelu(hop.widen(hop.norm_feed_forward(asked)))
    torch.testing.assert_close(hop(state, tokens), asked + hop.narrow(hidden))


def test_recent_rows_are_the_last_ones() -> None:
    model = HistoryReader(CONFIG).eval()
    with torch.no_grad():
        model.embed_history.weight.zero_()
    transaction, history = _inputs()
    old, new = history.clone(), history.clone()
    old[:, :4] += 1
    new[:, 4:] += 1
    torch.testing.assert_close(model(transaction, old), model(transaction, history))
    assert not torch.allclose(model(transaction, new), model(transaction, history))


def test_it_exports_with_a_variable_batch() -> None:
    torch.manual_seed(0)
    scorer = CalibratedScorer(HistoryReader(CONFIG)).eval()
    names = ("transaction", "history")
    example = dict(zip(names, (x.numpy() for x in _inputs(3)), strict=True))
    session = open_session(to_onnx(scorer, example, "score"))
    for rows in (1, 7):
        inputs = _inputs(rows)
        given = run(session, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
        np.testing.assert_allclose(given, scorer(*inputs).detach().numpy(), atol=1e-6)
