"""A variant that this gateway should serve and could not load: the champion answers for it."""

from __future__ import annotations

from serve_app.batching import Computed
from serve_app.errors import BackendUnavailableError
from serve_app.runners import Arrays
from serve_app.terms import ANYBODY, Terms


class AbsentBackend:
    """Never ready. Better than another publication under the same name, and than no gateway."""

    placement = "inline"

    def __init__(self, variant: str) -> None:
        self._message = (
            f"variant {variant!r} is unavailable: a gateway could not load it when it started, "
            "see its log; load the variant again"
        )

    async def infer(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        """See `Backend.infer`."""
        raise BackendUnavailableError(self._message)

    async def ready(self) -> bool:
        """No."""
        return False

    async def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        raise BackendUnavailableError(self._message)

    async def retire(self) -> None:
        """Nothing is held."""
