"""Fake quantisation: a float module that computes as its int8 twin will, and can be trained.

Weights are rounded to a symmetric int8 grid for each output, activations to a uint8 grid over a
range that follows a moving average of the batches' extremes; gradients pass the rounding as if it
were not there, and stop where a value was cut off. Source: Jacob et al., "Quantization and
training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compression.errors import TechniqueError
from compression.quantisation.kernels import HIGHEST, grid
from compression.training.rows import Inputs

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Exactly these: attention's own kind of Linear, for one, is never called itself."""
MOMENTUM = 0.01
"""Weight of a batch in the moving average of extremes."""


class FakeWeight(nn.Module):
    """Parametrisation of a layer's weight: rounded to a symmetric grid of its first dimension.

    Weights that are zero stay zero: what an earlier step pruned does not come back in training.
    """

    present: Tensor

    def __init__(self, weight: Tensor, *, per_channel: bool, reach: int) -> None:
        super().__init__()
        self.register_buffer("present", weight.detach() != 0)
        self.per_channel = per_channel
        self.reach = reach

    def forward(self, weight: Tensor) -> Tensor:
        """float32[out, …] → the same, on the grid."""
        rows = weight.detach().flatten(1).abs().amax(1)
        if not self.per_channel:
            rows = rows.amax().expand_as(rows)
        scales = torch.where(rows > 0, rows / self.reach, torch.ones_like(rows))
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        rounded = torch.fake_quantize_per_channel_affine(
            weight, scales, zeros, 0, -self.reach, self.reach
        )
        return rounded * self.present


class FakeInput(nn.Module):
    """What a layer reads, rounded to a grid over a range. It watches in training mode."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))
        self.mode: Literal["measure", "round", "mark"] = "round"
        self._mark = (1.0, 0)

    def enter(self, mode: Literal["measure", "round", "mark"]) -> None:
        """Change the mode. Marks are constants: what is exported cannot read a buffer's value."""
        self.mode = mode
        self._mark = self.grid()

    def grid(self) -> tuple[float, int]:
        """Scale and zero point; zero is on the grid."""
        return grid(float(self.low), float(self.high))

    def forward(self, values: Tensor) -> Tensor:
        """float32[…] → the same, on the grid."""
        values = values.float()
        if self.mode == "measure":
            self._follow(values, share=1.0)
            return values
        if self.mode == "mark":
            return _marked(values, *self._mark)
        if self.training:
            self._follow(values, share=MOMENTUM)
        return torch.fake_quantize_per_tensor_affine(values, *self.grid(), 0, HIGHEST)

    @torch.no_grad()
    def _follow(self, values: Tensor, share: float) -> None:
        low, high = values.aminmax()
        if share == 1.0:  # measuring: everything seen
            low, high = torch.minimum(low, self.low), torch.maximum(high, self.high)
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)


def _marked(values: Tensor, scale: float, zero: int) -> Tensor:
    """The same rounding in operations that the ONNX exporter turns into a Q/DQ pair."""
    operations = torch.ops.quantized_decomposed
    rounded = operations.quantize_per_tensor(values, scale, zero, 0, HIGHEST, torch.uint8)
    marked: Tensor = operations.dequantize_per_tensor(rounded, scale, zero, 0, HIGHEST, torch.uint8)
    return marked


def layers_in_order(body: nn.Module, example: Sequence[Tensor]) -> list[nn.Module]:
    """Layers of a module that can be quantised, in the order of their first call."""
    called: dict[nn.Module, None] = {}
    hooks = [
        part.register_forward_pre_hook(lambda layer, _: called.setdefault(layer))
        for part in body.modules()
        if type(part) in LAYERS
    ]
    try:
        with torch.no_grad():
            body(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return list(called)


def freeze_statistics(body: nn.Module) -> None:
    """Batch norm keeps the statistics it has, in place: they are of more rows than an epoch."""
    for part in body.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.register_forward_pre_hook(_evaluate)


def _evaluate(norm: nn.Module, _: tuple[Tensor, ...]) -> None:
    norm.eval()


class FakeQuantised:
    """Fake quantisation of some layers of a body, in place; `float_weights` takes it off again."""

    def __init__(self, layers: Sequence[nn.Module], *, per_channel: bool, reach: int):
        if not layers:
            raise TechniqueError(
                "quantize (qat): the model has no Linear or Conv beside those left in float "
                "(float_layers): nothing to train"
            )
        self._layers = list(layers)
        self._inputs = []
        for layer in self._layers:
            weight = layer.get_parameter("weight")
            grid = FakeWeight(weight, per_channel=per_channel, reach=reach)
            parametrize.register_parametrization(layer, "weight", grid)
            watched = FakeInput()
            layer.add_module("fake_input", watched)
            layer.register_forward_pre_hook(_through_fake_input)
            self._inputs.append(watched)

    def __len__(self) -> int:
        """How many layers."""
        return len(self._layers)

    def measure(self, body: nn.Module, batches: Iterator[Inputs]) -> None:
        """Set all ranges to what the batches span, on the way through the float body."""
        with self._mode("measure"), torch.no_grad():
            for batch in batches:
                body(*(torch.from_numpy(array) for array in batch.values()))

    def float_weights(self) -> None:
        """Give the layers their trained float weights back."""
        for layer in self._layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)

    @contextmanager
    def marked(self) -> Iterator[None]:
        """While exporting: activations rounded by operations that the exporter knows."""
        with self._mode("mark"):
            yield

    @contextmanager
    def _mode(self, mode: Literal["measure", "mark"]) -> Iterator[None]:
        for watched in self._inputs:
            watched.enter(mode)
        try:
            yield
        finally:
            for watched in self._inputs:
                watched.enter("round")


def _through_fake_input(layer: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    fake_input: nn.Module = layer.get_submodule("fake_input")
    return (fake_input(arguments[0]), *arguments[1:])
