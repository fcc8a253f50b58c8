from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compression.models.resize import head_counts, resize_to
from compression.models.scorer import Scorer
from compression.models.transformer import Attention
from compression.techniques.candidate import parameter_count
from compression.techniques.context import Context
from compression.techniques.prune import remove_structures
from compression.workloads.fraud.workload import FraudWorkload


@pytest.fixture
def pruned(tiny_workload: FraudWorkload, shared_context: Context) -> Scorer:
    """Half of the heads and of the hidden units are gone."""
    module = copy.deepcopy(tiny_workload.original())
    remove_structures(module.body, 2, 16, shared_context)
    return module.eval()


def test_a_pruned_module_is_rebuilt_from_its_weights(
    tiny_workload: FraudWorkload, pruned: Scorer
) -> None:
    fresh = tiny_workload.original()
    assert parameter_count(pruned) < parameter_count(fresh)
    state = pruned.state_dict()
    resize_to(fresh, state, head_counts(pruned))
    fresh.load_state_dict(state)
    assert parameter_count(fresh) == parameter_count(pruned)
    assert head_counts(fresh) == head_counts(pruned)
    inputs = tiny_workload.gather(tiny_workload.validation[:50])
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    with torch.inference_mode():
        assert torch.equal(fresh.eval()(*tensors), pruned(*tensors))


def test_what_has_its_size_already_is_left_alone(tiny_workload: FraudWorkload) -> None:
    module = tiny_workload.original()
    before = dict(module.named_modules())
    resize_to(module, module.state_dict(), head_counts(module))
    assert dict(module.named_modules()) == before


def test_layers_without_bias_stay_without() -> None:
    module = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 2))
    resize_to(module, {"0.weight": torch.zeros(3, 4), "1.weight": torch.zeros(2, 3)}, {})
    first, last = module
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert first.bias is None
    assert (first.out_features, last.in_features) == (3, 3)
    assert last.bias is not None


def test_head_counts_are_by_module_name() -> None:
    module = nn.ModuleDict({"a": Attention(8, 2), "b": nn.Sequential(Attention(8, 4))})
    assert head_counts(module) == {"a": 2, "b.0": 4}
