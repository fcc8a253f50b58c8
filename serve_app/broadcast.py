"""Tell all gateways at once, and hear what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException


@dataclass(frozen=True)
class Told:
    """How many gateways there are, how many did it, and why the others did not."""

    gateways: int
    confirmed: int
    refused: tuple[str, ...]

    @property
    def by_all(self) -> bool:
        """Whether there are gateways, and all of them did it."""
        return self.gateways > 0 and not self.refused


async def tell(
    deployment: str, application: str, method: str, version: int, document: Any, seconds: float
) -> Told:
    """Call `method(document)` on every replica; one that did it replies {"version": version}.

    One that will not replies {"refused": reason}. What is still starting is not among them.
    """
    handle = serve.get_deployment_handle(deployment, application)
    try:
        replies = await handle.broadcast(method, document).results_async(
            timeout_s=seconds, return_exceptions=True
        )
    except (TimeoutError, RayError, RayServeException) as error:
        replies = [error]
    refused = tuple(
        str(reply["refused"]) if isinstance(reply, dict) else type(reply).__name__
        for reply in replies
        if reply != {"version": version}
    )
    return Told(len(replies), len(replies) - len(refused), refused)
