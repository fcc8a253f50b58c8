"""Give a module the structure that its saved weights have: smaller layers, factorised ones.

Most of it is told by the shapes in the state. `structure_of` is the rest: numbers of heads, groups
of convolutions, and shapes of norms without weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from compression.models.attention import attentions
from compression.models.low_rank import factorised

Structure = dict[str, dict[str, Any]]
"""Attributes by module name, JSON values."""


def structure_of(module: nn.Module) -> Structure:
    """What the shapes of the module's state do not tell."""
    structure: Structure = {name: dict(a.sizes()) for name, a in attentions(module).items()}
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.conv._ConvNd) and part.groups > 1:
            structure[name] = {"groups": part.groups}
        elif isinstance(part, nn.LayerNorm) and not part.elementwise_affine:
            structure[name] = {"normalized_shape": list(part.normalized_shape)}
    return structure


def resize_to(module: nn.Module, state: Mapping[str, Tensor], structure: Structure) -> None:
    """Make the module one that `state` can be loaded into, in place; its weights are not loaded.

    A Linear whose name has two weights in the state (`name.0.weight`, `name.1.weight`) becomes
    factorised; parameters and buffers of another shape are replaced by zeros of that shape.
    """
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.Linear) and f"{name}.0.weight" in state:
            rank = state[f"{name}.0.weight"].shape[0]
            module.set_submodule(name, factorised(part, rank))
    for name, part in module.named_modules():
        for attribute, value in structure.get(name, {}).items():
            setattr(part, attribute, tuple(value) if isinstance(value, list) else value)
        if _reshape(part, name, state):
            for kind, read_sizes in _SIZES:
                if isinstance(part, kind):
                    read_sizes(part)


def _reshape(part: nn.Module, name: str, state: Mapping[str, Tensor]) -> bool:
    """Replace the module's own tensors that have another shape in the state; True if any has."""
    own = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
    changed = False
    for leaf, tensor in own:
        wanted = state.get(f"{name}.{leaf}" if name else leaf)
        if wanted is None or wanted.shape == tensor.shape:
            continue
        empty = tensor.new_zeros(wanted.shape)
        setattr(part, leaf, nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty)
        changed = True
    return changed


def _linear(part: Any) -> None:
    part.out_features, part.in_features = part.weight.shape


def _convolution(part: Any) -> None:
    first, second = part.weight.shape[0], part.weight.shape[1] * part.groups
    part.out_channels, part.in_channels = (second, first) if part.transposed else (first, second)


def _batch_norm(part: Any) -> None:
    part.num_features = len(part.weight if part.affine else part.running_mean)


def _layer_norm(part: Any) -> None:
    part.normalized_shape = tuple(part.weight.shape)


def _group_norm(part: Any) -> None:
    part.num_channels = len(part.weight)


def _embedding(part: Any) -> None:
    part.num_embeddings, part.embedding_dim = part.weight.shape


def _prelu(part: Any) -> None:
    part.num_parameters = len(part.weight)


_SIZES: tuple[tuple[type[nn.Module], Callable[[Any], None]], ...] = (
    (nn.Linear, _linear),
    (nn.modules.conv._ConvNd, _convolution),
    (nn.modules.batchnorm._NormBase, _batch_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.Embedding, _embedding),
    (nn.PReLU, _prelu),
)
"""The attributes of each kind of layer that repeat its tensors' shapes."""
