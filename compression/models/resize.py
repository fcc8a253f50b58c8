"""Give a module the sizes its saved weights have, e.g. after structured pruning."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from compression.models.transformer import Attention


def head_counts(module: nn.Module) -> dict[str, int]:
    """Attention heads by module name; a weight's shape alone does not tell them."""
    return {
        name: part.heads for name, part in module.named_modules() if isinstance(part, Attention)
    }


def resize_to(module: nn.Module, state: Mapping[str, Tensor], heads: Mapping[str, int]) -> None:
    """Replace every Linear whose weight in `state` has another shape, in place."""
    for name, part in list(module.named_modules()):
        if isinstance(part, Attention):
            part.heads = heads[name]
        if not isinstance(part, nn.Linear):
            continue
        outputs, inputs = state[f"{name}.weight"].shape
        if (outputs, inputs) != (part.out_features, part.in_features):
            parent, _, leaf = name.rpartition(".")
            resized = nn.Linear(inputs, outputs, bias=part.bias is not None)
            setattr(module.get_submodule(parent), leaf, resized)
