from __future__ import annotations

import torch
from torch import Tensor, nn

from compression.heads import Binary
from compression.pruning.criteria import Magnitude, Taylor
from compression.pruning.dependencies import Dependencies
from compression.pruning.structured import prune_to
from compression.training.objectives import HardLabels
from compression.training.rows import Batch

LABELS = HardLabels(Binary())


class _Two(nn.Module):
    """Four hidden units on four inputs, one each."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 1, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
            self.head.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        logit: Tensor = self.head(self.hidden(x)).flatten()
        return logit


def _batches(used: list[int], signs: tuple[float, ...] = (1.0,)) -> list[Batch]:
    """Rows in which only some of the inputs are not zero; one batch per sign."""
    batches = []
    for sign in signs:
        x = torch.zeros(6, 4)
        x[:, used] = 0.01
        x *= sign
        batches.append(Batch((x,), torch.ones(6), None))
    return batches


def _kept(module: _Two) -> list[float]:
    return sorted(module.hidden.weight.detach().sum(1).tolist())


def test_magnitude_looks_at_weights() -> None:
    module = _Two()
    prune_to(module, (torch.randn(3, 4),), {"hidden": 2}, Magnitude())
    assert _kept(module) == [3.0, 4.0]


def test_taylor_looks_at_what_the_loss_would_miss() -> None:
    module = _Two()
    prune_to(module, (torch.randn(3, 4),), {"hidden": 2}, Taylor(_batches([2, 3]), LABELS))
    assert _kept(module) == [1.0, 2.0]


def test_gradients_of_opposite_batches_do_not_cancel() -> None:
    module = _Two()
    both = _batches([2, 3], (1.0, -1.0))
    mirrored = Batch(both[1].inputs, torch.zeros(6), None)
    total = _gradient(module, both[0]) + _gradient(module, both[1])
    assert float(total.abs().max()) < 0.2 * float(_gradient(module, both[0]).abs().max())
    criterion = Taylor((both[0], both[1], mirrored), LABELS)
    prune_to(module, (torch.randn(3, 4),), {"hidden": 2}, criterion)
    assert _kept(module) == [1.0, 2.0]


def _gradient(module: _Two, batch: Batch) -> Tensor:
    module.zero_grad()
    LABELS(module(*batch.inputs), batch).backward()  # type: ignore[no-untyped-call]
    gradient = module.hidden.weight.grad
    assert gradient is not None
    return gradient.clone()


def test_taylor_scores_are_sums_of_weight_times_gradient() -> None:
    module = _Two()
    batches = _batches([0, 1, 2, 3], (1.0, -0.5))
    expected = sum(
        (module.hidden.weight * _gradient(module, batch)).abs().sum(1).detach() for batch in batches
    )
    score = Taylor(batches, LABELS)(module)
    dependencies = Dependencies(module, (torch.randn(3, 4),))
    structure = next(s for s in dependencies.structures() if s.name == "hidden")
    worth = score(dependencies.group(structure, range(4)))
    assert worth is not None
    # The library gives them relative to their mean; the head's are in proportion here.
    assert isinstance(expected, Tensor)
    assert torch.allclose(worth, expected / expected.mean(), rtol=1e-4)


def test_no_gradient_is_left_behind() -> None:
    module = _Two()
    prune_to(module, (torch.randn(3, 4),), {"hidden": 2}, Taylor(_batches([0]), LABELS))
    assert all(parameter.grad is None for parameter in module.parameters())
