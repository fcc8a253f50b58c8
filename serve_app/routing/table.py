"""The routing table: one immutable, versioned document, replaced whole.

    {"version": 3, "model": "fraud", "experiment": "default", "salt": "…",
     "weights": {"original": 0.9, "distilled-int8": 0.1},
     "shadow": {"variant": "pruned", "sample_rate": 0.1}}

A person writes a `TableDraft`; the controller gives it a version and so makes it a `RoutingTable`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from compression.store.manifest import Name
from serve_app.errors import InvalidTableError

_SUM_TOLERANCE = 1e-6

Weight = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shadow(_Document):
    """A variant that sees a sticky sample of the requests and answers nobody."""

    variant: Name
    sample_rate: Weight


class TableDraft(_Document):
    """A table without model and version: what a person decides."""

    experiment: Name = "default"
    salt: Annotated[str, Field(min_length=1, max_length=128)] = "slimserve"
    """Another salt deals the callers anew."""
    weights: dict[Name, Weight]
    shadow: Shadow | None = None

    @field_validator("weights")
    @classmethod
    def _sums_to_one(cls, weights: dict[str, float]) -> dict[str, float]:
        total = math.fsum(weights.values())
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"weights sum to {total:.6g}, expected 1")
        return weights


class RoutingTable(TableDraft):
    """A table in force. `version` grows by one with every change of the model's table."""

    version: PositiveInt
    model: Name


class TableChange(_Document):
    """Body of PUT …/routing: a table and the version it replaces (compare-and-swap)."""

    replaces: PositiveInt
    version: int | None = None
    model: Name | None = None
    experiment: Name = "default"
    salt: Annotated[str, Field(min_length=1, max_length=128)] = "slimserve"
    weights: dict[Name, Weight]
    shadow: Shadow | None = None

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        self.draft()
        return self

    def draft(self) -> TableDraft:
        """The table without what only the change carries; a given `version` is ignored, so that
        what GET answered can be edited and sent back."""
        return TableDraft.model_validate(
            self.model_dump(include={"experiment", "salt", "weights", "shadow"})
        )


def parse_change(body: bytes, model: str) -> TableChange:
    """The change in a request body.

    Raises:
        InvalidTableError: not JSON, an unknown key, a bad value, or a table of another model.
    """
    try:
        change = TableChange.model_validate_json(body)
    except ValidationError as error:
        raise InvalidTableError(f"routing table: {explain_first(error)}") from error
    if change.model not in (None, model):
        raise InvalidTableError(f"routing table: model is {change.model!r}, expected {model!r}")
    return change


def check_variants(draft: TableDraft, served: Collection[str], weightable: Collection[str]) -> None:
    """A table may name only variants that are served, and give weight only to passed ones.

    Raises:
        InvalidTableError: it names others.
    """
    named = set(draft.weights) | ({draft.shadow.variant} if draft.shadow else set())
    if unknown := sorted(named - set(served)):
        raise InvalidTableError(
            f"routing table: variants {unknown} are not served here, expected some of "
            f"{sorted(served)}"
        )
    weighted = {name for name, weight in draft.weights.items() if weight > 0}
    if failed := sorted(weighted - set(weightable)):
        raise InvalidTableError(
            f"routing table: variants {failed} failed the quality gate and get no weight; "
            "pin them, or set allow_failed_gate for them in the application's configuration"
        )


def explain_first(error: ValidationError) -> str:
    """The problems as one line, with the keys they are at."""
    parts = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "document"
        given = json.dumps(item["input"], default=str)[:80]
        parts.append(f"{where}: {item['msg']}, given {given}")
    return "; ".join(parts)
