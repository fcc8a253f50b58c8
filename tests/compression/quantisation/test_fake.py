from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compression.errors import TechniqueError
from compression.quantisation.fake import (
    MOMENTUM,
    FakeInput,
    FakeQuantised,
    FakeWeight,
    layers_in_order,
)
from compression.quantisation.kernels import HIGHEST
from tests.compression.quantisation.small import Images, Tokens


def _seen(*values: float) -> FakeInput:
    fake = FakeInput()
    fake.enter("measure")
    fake(torch.tensor(values))
    fake.enter("round")
    return fake.eval()


@pytest.mark.parametrize("values", [(-1.0, 3.0), (0.5, 3.0), (-3.0, -0.5), (0.0, 0.0)])
def test_zero_stays_zero_and_the_range_is_covered(values: tuple[float, float]) -> None:
    fake = _seen(*values)
    scale, zero = fake.grid()
    assert 0 <= zero <= HIGHEST
    assert float(fake(torch.zeros(1))) == 0
    inside = torch.linspace(min(*values, 0), max(*values, 0), 100)
    assert (fake(inside) - inside).abs().max() <= scale / 2 + 1e-6


def test_values_outside_are_cut_off() -> None:
    fake = _seen(-1.0, 3.0)
    given = fake(torch.tensor([-9.0, 9.0]))
    np.testing.assert_allclose(given, [-1.0, 3.0], atol=0.01)


def test_gradients_pass_the_rounding_and_stop_where_a_value_was_cut_off() -> None:
    fake = _seen(-1.0, 3.0)
    values = torch.tensor([-9.0, 0.123, 2.9, 9.0], requires_grad=True)
    fake(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 0]


def test_ranges_follow_a_moving_average_in_training_alone() -> None:
    fake = _seen(-1.0, 1.0)
    fake(torch.tensor([-5.0, 5.0]))
    assert float(fake.high) == 1
    fake.train()(torch.tensor([-5.0, 3.0]))
    assert float(fake.high) == pytest.approx(1 + MOMENTUM * 2)
    assert float(fake.low) == pytest.approx(-1 - MOMENTUM * 4)


@pytest.mark.parametrize("reach", [127, 64])
def test_weights_lie_on_a_symmetric_grid_for_each_output(reach: int) -> None:
    weight = torch.randn(6, 40) * torch.logspace(-3, 3, 6)[:, None]
    grid = FakeWeight(weight, per_channel=True, reach=reach)(weight)
    steps = grid / (weight.abs().amax(1, keepdim=True) / reach)
    assert (steps - steps.round()).abs().max() < 1e-3
    np.testing.assert_allclose(steps.abs().amax(1), reach, rtol=1e-5)
    one = FakeWeight(weight, per_channel=False, reach=reach)(weight)
    assert (one[0] == 0).all(), "the smallest output is below the step of the largest"


def test_an_output_of_zeros_stays_zero() -> None:
    zeros = torch.zeros(3, 4)
    assert not FakeWeight(zeros, per_channel=True, reach=127)(zeros).any()


def test_pruned_weights_do_not_come_back() -> None:
    first = nn.Linear(6, 4)
    body = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        first.weight[:, ::2] = 0
    fake = FakeQuantised([first], per_channel=True, reach=127)
    fake.measure(body, iter([{"x": np.random.default_rng(0).normal(size=(9, 6)).astype("f")}]))
    optimiser = torch.optim.AdamW(body.parameters(), lr=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        body(torch.ones(9, 6)).square().sum().backward()
        optimiser.step()
    fake.float_weights()
    assert (first.weight[:, ::2] == 0).all()
    assert (first.weight[:, 1::2] != 0).all()


class Backwards(nn.Module):
    """Calls its layers in another order than it has them; one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first, self.never = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """float32[n, t, 4] → the same shape."""
        hidden = self.second(self.first(x))
        attended: Tensor = self.attention(hidden, hidden, hidden)[0]
        return attended


def test_layers_come_in_the_order_of_their_calls() -> None:
    """Attention's own kind of Linear is never called: rounding what it reads would do nothing."""
    body = Backwards()
    assert layers_in_order(body, [torch.zeros(2, 3, 4)]) == [body.first, body.second]
    images = Images().eval()
    kinds = [type(layer) for layer in layers_in_order(images, [torch.zeros(2, 3, 8, 8)])]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Linear, nn.Linear]


def test_fake_quantisation_changes_outputs_a_little_and_comes_off_again() -> None:
    body, x = Tokens().eval(), torch.randn(50, 5, 12)
    before, state = body(x), {k: v.clone() for k, v in body.state_dict().items()}
    layers = layers_in_order(body, [x])
    fake = FakeQuantised(layers, per_channel=True, reach=127)
    fake.measure(body, iter([{"x": x.numpy()}]))
    assert len(fake) == 3
    assert 0 < (body(x) - before).abs().max() < 0.1
    fake.float_weights()
    assert all(torch.equal(body.state_dict()[name], value) for name, value in state.items())


def test_there_must_be_something_to_train() -> None:
    with pytest.raises(TechniqueError, match="no Linear or Conv beside those left in float"):
        FakeQuantised([], per_channel=True, reach=127)
