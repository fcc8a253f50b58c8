"""Which units of a network can only go together, as torch-pruning's dependency graph tells.

A hidden unit is a row of one matrix, an entry of a norm and a column of the next matrix: DepGraph
(Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023) finds these groups in any
network that it can trace. Here they become *structures* with units: channels, whole attention
heads, or the same channel of every group of a grouped convolution or norm.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.pruner.function import LayernormPruner

from compression.models.attention import Attention, attentions
from compression.tracing import TRACING

Kind = Literal["heads", "channels"]
ROOTS = (nn.Linear, nn.modules.conv._ConvNd)
NORMS_OVER_CHANNELS = (nn.LayerNorm, nn.GroupNorm)
KEPT_WHOLE = (nn.RNNBase, nn.MultiheadAttention)
"""Layers that keep their sizes in more places than their tensors: a saved one is not rebuilt."""


@dataclass(frozen=True)
class Structure:
    """Units that go or stay one by one; `units` are output channels of the layer called `name`."""

    name: str
    kind: Kind
    units: tuple[tuple[int, ...], ...]

    @property
    def least(self) -> int:
        """How many units must stay. Of grouped layers two: with one channel in each of its groups
        a convolution would count as depthwise, whose inputs and outputs go together.
        """
        return 2 if self.kind == "channels" and len(self.units[0]) > 1 else 1

    def share(self, share: float) -> int:
        """How many units `share` of them is, rounded."""
        return max(self.least, round(len(self.units) * share))

    def channels(self, units: Sequence[int]) -> list[int]:
        """Output channels of some of the units, ascending."""
        return sorted(channel for unit in units for channel in self.units[unit])


class _SortedLayerNorm(LayernormPruner):  # type: ignore[misc]
    """The library's keeps the channels in the order of a set, which is not always ascending."""

    def prune_out_channels(self, layer: nn.LayerNorm, idxs: Sequence[int]) -> nn.LayerNorm:
        gone = set(idxs)
        kept = [index for index in range(layer.normalized_shape[-1]) if index not in gone]
        if layer.elementwise_affine:
            layer.weight = self._prune_parameter_and_grad(layer.weight, kept, -1)
            if layer.bias is not None:
                layer.bias = self._prune_parameter_and_grad(layer.bias, kept, -1)
        layer.normalized_shape = (*layer.normalized_shape[:-1], len(kept))
        return layer

    prune_in_channels = prune_out_channels


class Dependencies:
    """The dependency graph of `body`, traced with the example inputs; they need two rows or more.

    `body` is set to eval mode and all its parameters to be trained: the tracer follows gradients.
    """

    def __init__(self, body: nn.Module, example: Sequence[Tensor]) -> None:
        self.body = body
        for parameter in body.parameters():
            parameter.requires_grad_(parameter.dtype.is_floating_point)
        with TRACING.step(), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._graph: Any = torch_pruning.DependencyGraph().build_dependency(
                body.eval(),
                tuple(example),
                customized_pruners={nn.LayerNorm: _SortedLayerNorm()},
                verbose=False,
            )
        self._attentions = attentions(body)

    def structures(self) -> tuple[Structure, ...]:
        """Every group of units that the graph knows, but residual streams and recurrent layers.

        A residual stream is what several layers add up to and a LayerNorm reads: taking a channel
        from it takes one from every block, so its width is kept, as is usual.
        """
        found = []
        for group in self._graph.get_all_groups(root_module_types=ROOTS):
            if not self._is_residual_stream(group) and not self._is_kept_whole(group):
                structure = self._structure(group)
                if structure is not None and len(structure.units) > structure.least:
                    found.append(structure)
        return tuple(found)

    def _structure(self, group: Any) -> Structure | None:
        name = self._name(group[0].dep.target.module)
        channels = len(group[0].idxs)
        attention = self._attention(group)
        if attention is not None:
            if not attention.prunable():
                return None
            size = channels // attention.heads
            starts = range(0, channels, size)
            units = tuple(tuple(range(start, start + size)) for start in starts)
            return Structure(name, "heads", units)
        groups = self._channel_groups(group, channels)
        if groups is None:
            return None
        size = channels // groups
        return Structure(
            name,
            "channels",
            tuple(tuple(range(unit, channels, size)) for unit in range(size)),
        )

    def _attention(self, group: Any) -> Attention | None:
        """The attention whose projections the group prunes, if there is one."""
        written = {id(layer) for layer in self._written(group)}
        for attention in self._attentions.values():
            if any(id(projection) in written for projection in attention.projections):
                return attention
        return None

    def _channel_groups(self, group: Any, channels: int) -> int | None:
        """In how many groups the channels stand; None if the layers disagree on that."""
        counts = set()
        for dep, _ in group:
            layer, pruner = dep.target.module, self._graph.get_pruner_of_module(dep.target.module)
            if isinstance(layer, ROOTS[1]) and layer.groups == layer.out_channels:
                continue  # depthwise: every channel is its own
            writes = self._graph.is_out_channel_pruning_fn(dep.handler)
            there = pruner.get_out_channel_groups if writes else pruner.get_in_channel_groups
            if there(layer) > 1:
                of_layer = self._graph.get_out_channels if writes else self._graph.get_in_channels
                counts.add(there(layer) if of_layer(layer) == channels else None)
        if not counts:
            return 1
        return counts.pop() if len(counts) == 1 else None

    def _is_residual_stream(self, group: Any) -> bool:
        normed = any(isinstance(dep.target.module, nn.LayerNorm) for dep, _ in group)
        return normed and len(self._written(group)) > 1

    def _is_kept_whole(self, group: Any) -> bool:
        return any(isinstance(dep.target.module, KEPT_WHOLE) for dep, _ in group)

    def _written(self, group: Any) -> list[nn.Module]:
        """Layers whose outputs the group prunes."""
        return [
            dep.target.module
            for dep, _ in group
            if isinstance(dep.target.module, ROOTS)
            and self._graph.is_out_channel_pruning_fn(dep.handler)
        ]

    def _name(self, module: nn.Module) -> str:
        return str(self._graph._module2name[module])

    def group(self, structure: Structure, units: Sequence[int]) -> Any:
        """torch-pruning's group of all that goes with these units."""
        layer = self.body.get_submodule(structure.name)
        pruner = self._graph.get_pruner_of_module(layer)
        channels = structure.channels(units)
        return self._graph.get_pruning_group(layer, pruner.prune_out_channels, channels)

    def readers(self, group: Any) -> list[tuple[str, list[int]]]:
        """(layer, input channels) of the layers that read what the group takes away."""
        return [
            (self._name(dep.target.module), list(idxs))
            for dep, idxs in group
            if isinstance(dep.target.module, ROOTS)
            and not self._graph.is_out_channel_pruning_fn(dep.handler)
        ]

    def normalises(self, group: Any) -> bool:
        """True if a norm takes its mean over the group's channels: then all of them count."""
        return any(isinstance(dep.target.module, NORMS_OVER_CHANNELS) for dep, _ in group)

    def remove(self, structure: Structure, units: Sequence[int]) -> None:
        """Take the units out of the network, in place; the graph stays in step."""
        if not units:
            return
        group = self.group(structure, units)
        attention = self._attention(group) if structure.kind == "heads" else None
        group.prune()
        if attention is not None:
            attention.keep(attention.heads - len(units))
