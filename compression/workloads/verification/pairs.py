"""Pairs of pictures: the rows of the verification workload."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Index = npt.NDArray[np.int64]


class PairConfig(BaseModel):
    """Pairs in which each picture is the probe: of whom the reference is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    same: PositiveInt = 1
    """Other pictures of the probe's identity."""
    relatives: int = Field(default=1, ge=0)
    """Impostors who look like the probe's identity."""
    strangers: PositiveInt = 2
    """Impostors of other families."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two pictures each, as int64[n] indices, ordered by probe."""

    probe: Index
    reference: Index


def draw_pairs(
    config: PairConfig,
    families: tuple[int, int],
    relatives: int,
    pictures: int,
    generator: np.random.Generator,
) -> Pairs:
    """Pairs within families[0] … families[1] - 1, so that windows share no identity.

    Pictures are ordered by family, identity and take, as `draw_pictures` gives them. References
    of the same identity are other pictures than the probe, each at most once; there must be
    more pictures than `config.same`, and at least two families.
    """
    first, last = families
    people = relatives * (last - first)
    probe = np.arange(people * pictures, dtype=np.int64)
    identity, take = np.divmod(probe, pictures)
    columns = [
        identity * pictures + (take + offset) % pictures
        for offset in _distinct_offsets(len(probe), config.same, pictures, generator)
    ]
    for _ in range(config.relatives):
        family, member = np.divmod(identity, relatives)
        other = (member + generator.integers(1, relatives, len(probe))) % relatives
        who = family * relatives + other
        columns.append(who * pictures + generator.integers(0, pictures, len(probe)))
    for _ in range(config.strangers):
        own_family = identity - identity % relatives
        step = generator.integers(relatives, people, len(probe))
        who = (own_family + step) % people
        columns.append(who * pictures + generator.integers(0, pictures, len(probe)))
    reference = np.stack(columns, axis=1)
    start = first * relatives * pictures
    return Pairs(np.repeat(probe, reference.shape[1]) + start, reference.ravel() + start)


def _distinct_offsets(
    rows: int, wanted: int, pictures: int, generator: np.random.Generator
) -> list[Index]:
    """`wanted` times int64[rows]: offsets 1 … pictures - 1, in each row all different."""
    order = np.argsort(generator.random((rows, pictures - 1)), axis=1)
    return list(order[:, :wanted].T + 1)
