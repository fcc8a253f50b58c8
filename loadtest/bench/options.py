"""What the bench is told."""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from loadtest.bench.division import ANYWHERE, Division
from loadtest.documents import Document


class OverloadOptions(Document):
    """Three times what the server can do, open loop, and what is left of it."""

    runs: int = 3
    """0 leaves it out."""
    times_capacity: PositiveFloat = 3.0
    seconds: PositiveFloat = 60.0
    capacity_seconds: PositiveFloat = 5.0
    """To find it, before and after."""
    light_share: PositiveFloat = 0.25
    """Rate before and after it, as a share of the capacity."""
    light_seconds: PositiveFloat = 6.0
    deadline_seconds: PositiveFloat = 1.0
    """Sent with every request as `x-request-timeout-seconds`."""


class BenchOptions(Document):
    """What is measured; `seconds` per number of connections and round."""

    store: Path
    """A local folder: the baselines open the published file itself."""
    model: str
    variant: str
    out: Path
    port: PositiveInt = 8000
    data_port: PositiveInt = 8080
    """Of slimserve."""
    connections: tuple[PositiveInt, ...] = (1, 16, 64)
    rounds: PositiveInt = 5
    seconds: PositiveFloat = 4.0
    half_rate_seconds: PositiveFloat = 8.0
    binary_rows: PositiveInt = 32
    binary_connections: tuple[PositiveInt, ...] = (16, 64)
    gateways: PositiveInt = 1
    """Gateway replicas of slimserve; the bare loop gets as many processes."""
    only: tuple[str, ...] = ()
    """Contenders by name; empty: all."""
    cores: Division = ANYWHERE
    """Of every contender. By default they and the load share the machine's, and slimserve takes one
    more turn with the load on cores of its own."""
    overload: OverloadOptions = OverloadOptions()


QUICK = {"rounds": 2, "seconds": 1.0, "half_rate_seconds": 2.0}
QUICK_OVERLOAD = OverloadOptions(runs=1, seconds=4.0, capacity_seconds=2.0, light_seconds=2.5)
"""Shows that it works; the figures are not to be quoted."""
