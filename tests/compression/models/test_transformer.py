from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compression.models.scorer import CalibratedScorer
from compression.models.transformer import (
    Attention,
    Block,
    Standardise,
    TransactionTransformer,
    TransformerConfig,
)

CONFIG = TransformerConfig(
    transaction_features=5, history_features=3, history_length=6, width=8, layers=2, heads=2,
    feed_forward=12, dropout=0.3,
)  # fmt: skip


@pytest.fixture
def model() -> TransactionTransformer:
    torch.manual_seed(0)
    return TransactionTransformer(CONFIG).eval()


def _inputs(rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return (
        torch.randn(rows, 5, generator=generator),
        torch.randn(rows, 6, 3, generator=generator),
    )


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_one_logit_a_row(model: TransactionTransformer, rows: int) -> None:
    logits = model(*_inputs(rows))
    assert logits.shape == (rows,)
    assert logits.dtype == torch.float32


def test_rows_do_not_see_each_other(model: TransactionTransformer) -> None:
    transaction, history = _inputs(4)
    together = model(transaction, history)
    alone = torch.cat([model(transaction[i : i + 1], history[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("part", ["transaction", "history", "order"])
def test_the_score_depends_on_everything_it_is_given(
    model: TransactionTransformer, part: str
) -> None:
    transaction, history = _inputs(1)
    before = model(transaction, history)
    change: dict[str, Callable[[], Tensor]] = {
        "transaction": lambda: model(transaction + 1, history),
        "history": lambda: model(transaction, history + 1),
        "order": lambda: model(transaction, history.flip(1)),
    }
    assert not torch.allclose(before, change[part](), atol=1e-4)


def test_attention_is_the_textbook_s() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    reference = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(
            torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])
        )
        reference.in_proj_bias.copy_(
            torch.cat([attention.q.bias, attention.k.bias, attention.v.bias])
        )
        reference.out_proj.weight.copy_(attention.out.weight)
        reference.out_proj.bias.copy_(attention.out.bias)
    tokens = torch.randn(3, 7, 8)
    queries = tokens[:, -1:]
    expected, _ = reference(queries, tokens, tokens, need_weights=False)
    torch.testing.assert_close(attention(queries, tokens), expected, atol=1e-6, rtol=1e-5)


def test_the_read_out_block_gives_the_last_token_what_a_whole_block_would(
    model: TransactionTransformer,
) -> None:
    block = model.blocks[-1]
    assert isinstance(block, Block)
    tokens = torch.randn(3, 7, 8)
    readout = block(tokens)
    block.readout = False
    whole = block(tokens)
    assert readout.shape == (3, 1, 8)
    assert whole.shape == (3, 7, 8)
    torch.testing.assert_close(readout, whole[:, -1:], atol=1e-6, rtol=1e-5)


def test_only_the_last_block_reads_out(model: TransactionTransformer) -> None:
    assert [block.readout for block in model.blocks] == [False, True]


def test_inputs_are_standardised_with_the_training_rows_figures() -> None:
    torch.manual_seed(0)
    rows = torch.randn(500, 6, 3) * torch.tensor([1.0, 20.0, 0.1]) + torch.tensor([0.0, 5.0, -3.0])
    standardise = Standardise(3)
    standardise.fit(rows)
    flat = standardise(rows).reshape(-1, 3)
    torch.testing.assert_close(flat.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_constant_feature_stays_finite() -> None:
    standardise = Standardise(2)
    standardise.fit(torch.full((10, 2), 7.0))
    assert torch.isfinite(standardise(torch.full((1, 2), 8.0))).all()


def test_standardisation_travels_with_the_weights(model: TransactionTransformer) -> None:
    model.fit_inputs(torch.randn(50, 5) * 3 + 1, torch.randn(50, 6, 3) * 5)
    other = TransactionTransformer(CONFIG).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(*_inputs(3)), model(*_inputs(3)))


def test_a_scorer_is_the_recalibrated_sigmoid_of_its_body(model: TransactionTransformer) -> None:
    inputs = _inputs(5)
    logits = model(*inputs)
    torch.testing.assert_close(CalibratedScorer(model)(*inputs), logits.sigmoid())
    scores = CalibratedScorer(model, slope=0.5, intercept=-2.0)(*inputs)
    torch.testing.assert_close(scores, functional.sigmoid(0.5 * logits - 2))


def test_calibration_travels_with_the_weights(model: TransactionTransformer) -> None:
    state = CalibratedScorer(model, 0.5, -2.0).state_dict()
    other = CalibratedScorer(TransactionTransformer(CONFIG))
    other.load_state_dict(state)
    assert (float(other.slope), float(other.intercept)) == (0.5, -2.0)


def test_sizes_are_plain_values() -> None:
    assert TransformerConfig(**CONFIG.to_dict()) == CONFIG
