"""Attention modules of anyone's transformer, known by their parts.

Pruning whole heads needs two things that no tensor tells: which Linears are the query, key and
value projections, and where the module keeps its count of heads. Both are found by the names that
libraries and textbooks use; an attention with other names is not recognised, and stays whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

PROJECTIONS = (
    ("q", "k", "v"),
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("to_q", "to_k", "to_v"),
    ("q_lin", "k_lin", "v_lin"),
    ("wq", "wk", "wv"),
)
COUNTS = ("heads", "num_heads", "n_heads", "num_attention_heads", "n_head", "nhead")
WIDTHS = ("all_head_size", "inner_dim")
"""Further attributes that are the heads' width together, and shrink with them."""


@dataclass(frozen=True)
class Attention:
    """One attention module: its projections, and the attribute that counts its heads."""

    module: nn.Module
    projections: tuple[nn.Module, ...]
    attribute: str

    @property
    def heads(self) -> int:
        """How many there are now."""
        return int(getattr(self.module, self.attribute))

    def sizes(self) -> dict[str, int]:
        """The attributes that follow the number of heads, as they are now."""
        widths = {name: getattr(self.module, name, None) for name in WIDTHS}
        return {self.attribute: self.heads} | {
            name: width for name, width in widths.items() if isinstance(width, int)
        }

    def keep(self, heads: int) -> None:
        """Tell the module that so many are left; the projections are not touched."""
        for name, value in self.sizes().items():
            setattr(self.module, name, value * heads // self.heads if name in WIDTHS else value)
        setattr(self.module, self.attribute, heads)

    def prunable(self) -> bool:
        """True if every projection is a Linear with equally many outputs for every head."""
        widths = {getattr(p, "out_features", None) for p in self.projections}
        return (
            all(isinstance(p, nn.Linear) for p in self.projections)
            and len(widths) == 1
            and int(next(iter(widths)) or 0) % self.heads == 0
        )


def attentions(module: nn.Module) -> dict[str, Attention]:
    """Every attention module that is recognised, by its name in `module`."""
    found = ((name, _recognised(part)) for name, part in module.named_modules())
    return {name: attention for name, attention in found if attention is not None}


def _recognised(part: nn.Module) -> Attention | None:
    children = dict(part.named_children())
    projections = next((n for n in PROJECTIONS if all(name in children for name in n)), None)
    counts = (name for name in COUNTS if _is_count(getattr(part, name, None)))
    attribute = next(counts, None)
    if projections is None or attribute is None:
        return None
    return Attention(part, tuple(children[name] for name in projections), attribute)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0
