"""What a gateway asks of the rest of the application, and who may ask it to."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Protocol

from compression.store import Manifest
from serve_app.errors import (
    ControlError,
    ForbiddenError,
    InvalidOptionsError,
    InvalidTableError,
    NeedsRedeployError,
    NotConfirmedError,
    NotPublishedError,
    StaleTableError,
    UnauthenticatedError,
    UnloadableError,
    VariantInUseError,
)
from serve_app.metrics import Families
from serve_app.statistics import VariantStatistics

Changed = dict[str, Any]
"""The controller's reply to a change:
{"outcome": "changed" | "stale" | "refused" | "unconfirmed", …}"""

_REFUSALS: Mapping[str, type[ControlError]] = {
    error.reason: error
    for error in (
        InvalidOptionsError, InvalidTableError, NeedsRedeployError, NotPublishedError,
        UnloadableError, VariantInUseError,
    )
}  # fmt: skip
"""What the controller refuses with, by reason: exceptions do not cross from actor to actor."""


class Control(Protocol):
    """The application around one gateway."""

    async def change_table(self, draft: dict[str, Any], replaces: int) -> Changed:
        """Replace the routing table on all gateways."""
        ...

    async def load_variant(self, name: str, options: Mapping[str, Any]) -> Changed:
        """Serve a variant as it is published now, on all gateways."""
        ...

    async def unload_variant(self, name: str) -> Changed:
        """Serve a variant no longer, on all gateways."""
        ...

    async def published(self) -> dict[str, Manifest]:
        """The model's variants in the store, by name.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    async def gather_metrics(self) -> list[Families]:
        """Samples of every replica there is, this one included."""
        ...

    async def gather_statistics(self) -> list[Mapping[str, VariantStatistics]]:
        """Statistics by variant of every replica there is, this one included."""
        ...


def check_token(expected: str | None, variable: str, authorization: bytes | None) -> None:
    """Let a change pass only with the bearer token.

    Raises:
        ForbiddenError: the server has no token, so nobody may.
        UnauthenticatedError: no token was sent, or another one.
    """
    if not expected:
        raise ForbiddenError(
            f"changes are switched off: set {variable} in the servers' environment, "
            "and send it as 'Authorization: Bearer …'"
        )
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), expected.encode()):
        raise UnauthenticatedError("expected the admin token as 'Authorization: Bearer …'")


def explain_change(changed: Changed) -> dict[str, Any]:
    """The answer to a change: the table, or the catalogue's version.

    Raises:
        StaleTableError: somebody else was first.
        ControlError: the controller refused it; the leaf says why.
        NotConfirmedError: kept, but not in force everywhere yet.
    """
    if changed["outcome"] == "stale":
        version = int(changed["version"])
        raise StaleTableError(f"replaces: expected {version}, the version in force", version)
    if changed["outcome"] == "refused":
        raise _REFUSALS[changed["reason"]](changed["message"])
    result: dict[str, Any] = changed["table"] if "table" in changed else changed["catalogue"]
    if changed["outcome"] == "unconfirmed":
        raise NotConfirmedError(
            f"version {result['version']} is kept, but only {changed['confirmed']} of "
            f"{changed['gateways']} gateways confirmed it; the others take it when they can"
            + (f" ({'; '.join(changed['refused'])})" if changed["refused"] else "")
        )
    return result
