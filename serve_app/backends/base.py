"""What a backend is."""

from __future__ import annotations

from typing import Protocol

from serve_app.batching import Computed
from serve_app.runners.base import Arrays
from serve_app.terms import ANYBODY, Terms


class Backend(Protocol):
    """One variant, ready to compute, wherever it is."""

    placement: str

    async def infer(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        """Compute a request of `rows` rows; inputs are as `model.json` describes them.

        Raises:
            QueueFullError: too many rows wait.
            DeadlineExceededError: the time is over, the terms' or the variant's own.
            VariantFailedError: the model raised.
            BackendUnavailableError: nobody answers.
        """
        ...

    async def ready(self) -> bool:
        """Whether it would answer now."""
        ...

    async def describe(self) -> dict[str, str]:
        """What it runs on: platform, detail."""
        ...

    async def retire(self) -> None:
        """Return when all that was asked of it is answered, and let go of what it holds.

        Called once nobody can ask it any more.
        """
        ...
