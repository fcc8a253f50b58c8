"""Who has which of the machine's cores."""

from __future__ import annotations

import os
import shutil

from pydantic import NonNegativeInt

from loadtest.documents import Document


class Division(Document):
    """Cores by who is held to them; empty: anybody runs on any."""

    server: tuple[NonNegativeInt, ...] = ()
    """Every server stays on these, with all its processes."""
    gateways: tuple[NonNegativeInt, ...] = ()
    """Slimserve's gateways stay on these, and all else of it off them."""
    load: tuple[NonNegativeInt, ...] = ()
    """As do wrk and our own client."""

    @property
    def apart(self) -> bool:
        """Whether requests are sent and answered on different cores, as on two machines."""
        answering = self.gateways or self.server
        return bool(answering and self.load) and not set(answering) & set(self.load)


ANYWHERE = Division()


def halves() -> Division | None:
    """Gateways on one half of the cores, the load and the rest on the other; None of one core."""
    if shutil.which("taskset") is None:  # of util-linux: elsewhere nothing can be held to cores
        return None
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return Division(gateways=tuple(cores[:half]), load=tuple(cores[half:])) if half else None
