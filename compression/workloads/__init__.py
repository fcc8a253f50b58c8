"""Workloads: a model, its data and how its quality is judged. `base` says what one must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from compression.errors import RecipeError
from compression.validation import validate
from compression.workloads.base import Workload
from compression.workloads.checks import check_class, check_workload
from compression.workloads.fraud.workload import FraudWorkload
from compression.workloads.userfile import is_user_class, load_user_class
from compression.workloads.verification.workload import VerificationWorkload

WORKLOADS: dict[str, type[Workload]] = {
    kind.name: kind for kind in (FraudWorkload, VerificationWorkload)
}


@dataclass(frozen=True)
class Chosen:
    """A workload as a recipe names it, and its checked settings."""

    kind: type[Workload]
    settings: BaseModel
    sha256: str | None
    """Of the user's file that the class stands in; None for ours."""

    def open(self) -> Workload:
        """Load or make the data.

        Raises:
            RecipeError: what it offers is not what the protocol says.
        """
        workload: Workload = self.kind(self.settings)  # type: ignore[call-arg]
        workload.source_sha256 = self.sha256
        check_workload(workload)
        return workload


def find_workload(document: Mapping[str, Any], source: str) -> Chosen:
    """The workload that a recipe's `workload` names; no data is read.

    `source` is the recipe's file: paths start at its folder, messages begin with it.

    Raises:
        RecipeError: no such workload, a class that is none, settings it does not have.
    """
    folder = Path(source).parent
    settings = {key: value for key, value in document.items() if key != "name"}
    name = document.get("name")
    digest = None
    if isinstance(name, str) and is_user_class(name):
        kind, digest = _of_the_user(name, settings.pop("sha256", None), source)
    elif isinstance(name, str) and name in WORKLOADS:
        kind = WORKLOADS[name]
    else:
        raise RecipeError(
            f"{source}: workload.name is {name!r}; allowed: {', '.join(sorted(WORKLOADS))}, or "
            "path/to/file.py:ClassName"
        )
    return Chosen(
        kind,
        validate(kind.settings_type, settings, f"{source}: workload", folder=folder),
        digest,
    )


def _of_the_user(name: str, pin: object, source: str) -> tuple[type[Workload], str]:
    try:
        found = load_user_class(name, Path(source).parent)
        kind = check_class(found.kind, name)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    if pin not in (None, found.sha256):
        raise RecipeError(
            f"{source}: workload.sha256 is {pin}, but the file of {name} has {found.sha256}: it is "
            "not the file that was meant, or it was changed meanwhile"
        )
    return kind, found.sha256
