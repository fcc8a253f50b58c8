from __future__ import annotations

import pytest
from torch import nn

from compression.models.attention import attentions
from compression.models.transformer import Attention
from tests.compression.pruning import networks


def test_attention_is_known_by_its_parts() -> None:
    module = nn.ModuleDict({"ours": Attention(8, 2), "theirs": networks.Attention(8, 4)})
    found = attentions(module)
    assert {name: a.heads for name, a in found.items()} == {"ours": 2, "theirs": 4}
    assert all(attention.prunable() for attention in found.values())


class _Bert(nn.Module):
    """Names of the first transformers library."""

    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size = 4, 2
        self.all_head_size = 8
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))


def test_what_follows_the_heads_follows() -> None:
    module = _Bert()
    attentions(module)[""].keep(3)
    assert (module.num_attention_heads, module.all_head_size) == (3, 6)
    assert module.attention_head_size == 2
    assert attentions(module)[""].sizes() == {"num_attention_heads": 3, "all_head_size": 6}


@pytest.mark.parametrize("name", ["library_encoder", "hidden_heads", "conv"])
def test_what_has_no_such_parts_is_none(name: str) -> None:
    assert attentions(networks.network(name)[0]) == {}


def test_fewer_keys_than_queries_cannot_be_pruned_by_heads() -> None:
    module = networks.Attention(8, 4)
    module.k_proj = nn.Linear(8, 4)
    assert not attentions(module)[""].prunable()


def test_factorised_projections_are_known_but_stay_whole() -> None:
    module = Attention(8, 2)
    module.q = nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 8))  # type: ignore[assignment]
    (found,) = attentions(module).values()
    assert found.heads == 2
    assert not found.prunable()
