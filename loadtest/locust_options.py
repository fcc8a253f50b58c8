"""Options that the locustfile adds to locust's own command line and web form."""

from __future__ import annotations

from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from loadtest.documents import Document


class LocustOptions(Document):
    """What the locustfile was asked for. A rate of 0 is the closed loop."""

    store: str
    model: str
    variant: str = ""
    rows: PositiveInt = 1
    open_loop_rate: NonNegativeFloat = 0.0
    arrival: str = "poisson"
    seed: int = 0
    max_in_flight: PositiveInt = 256
    slo_seconds: PositiveFloat = 0.05
    histograms: str = Field(default="")

    @classmethod
    def of(cls, parsed: Any) -> LocustOptions:
        """Pick ours out of locust's parsed options."""
        return cls(**{name: getattr(parsed, name) for name in cls.model_fields})


def add_options(parser: Any) -> None:
    """Add the options to locust's parser; each can come from the environment, too."""
    add = parser.add_argument  # not of a group: the web form shows only the parser's own
    add("--store", default="out/demo/store", env_var="SLIMSERVE_STORE",
        help="model store whose held-out rows are sent (default: %(default)s)")  # fmt: skip
    add("--model", default="fraud", env_var="SLIMSERVE_MODEL", help="model's name")
    add("--variant", default="", env_var="SLIMSERVE_VARIANT",
        help="pin this variant; empty leaves the choice to the router")  # fmt: skip
    add("--rows", type=int, default=1, env_var="SLIMSERVE_ROWS", help="rows per request")
    add("--open-loop-rate", type=float, default=0.0, env_var="SLIMSERVE_OPEN_LOOP_RATE",
        help="requests per second of all workers together, whatever the number of users; "
        "0 is locust's own closed loop")  # fmt: skip
    add("--arrival", default="poisson", choices=["poisson", "constant"],
        env_var="SLIMSERVE_ARRIVAL", help="arrival process of the open loop")  # fmt: skip
    add("--seed", type=int, default=0, env_var="SLIMSERVE_SEED", help="seed of rows and arrivals")
    add("--max-in-flight", type=int, default=256, env_var="SLIMSERVE_MAX_IN_FLIGHT",
        help="pool of the open loop, per worker; a full pool drops, it never delays")  # fmt: skip
    add("--slo-seconds", type=float, default=0.05, env_var="SLIMSERVE_SLO_SECONDS",
        help="p99 to be held: the generator's own lag is judged by it")  # fmt: skip
    add("--histograms", default="", env_var="SLIMSERVE_HISTOGRAMS",
        help="write quantiles and encoded histograms to this JSON file at the end")  # fmt: skip
