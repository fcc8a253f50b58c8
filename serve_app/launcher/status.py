"""What `up` prints while it serves: a line when something changed, and the traffic each minute."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

LOOK_SECONDS = 5.0
REPLICAS_SECONDS = 30.0
TRAFFIC_SECONDS = 60.0
"""What the gateways are asked costs them 3 ms and us 2. A scrape of all replicas is some 20 ms, and
so is asking Ray Serve, here and in one piece: on two cores a request behind it waits."""
_ANSWER_SECONDS = 2.0
_REQUESTS = "slimserve_requests_total"
_RUNNING = "RUNNING"

Traffic = Counter[tuple[str, str]]
"""Requests so far by (variant, outcome)."""


@dataclass(frozen=True)
class Status:
    """What is looked at; one that is as the last was is not printed."""

    ready: bool
    replicas: Mapping[str, Mapping[str, int]]
    """Replicas by deployment and state, as Ray Serve names it."""
    variants: tuple[str, ...] = ()
    table: Mapping[str, Any] | None = None

    @property
    def settled(self) -> bool:
        """Whether there are replicas, and all of them run."""
        by_deployment = self.replicas.values()
        return bool(by_deployment) and all(set(states) == {_RUNNING} for states in by_deployment)

    def lines(self, before: Status | None) -> list[str]:
        """What is new in it since `before`."""
        said = []
        if before is None or before.ready != self.ready:
            said.append("ready" if self.ready else "NOT READY: the champion does not answer")
        if before is None or before.replicas != self.replicas:
            counted = "; ".join(_replicas(*item) for item in sorted(self.replicas.items()))
            said.append(counted or "Ray Serve tells of no deployment")
        if self.variants and (before is None or before.variants != self.variants):
            said.append(f"serves {', '.join(self.variants)}")
        if self.table and (before is None or before.table != self.table):
            said.append(f"routing table {self.table['version']}: {_weights(self.table)}")
        return said


class Gateways:
    """The application as its clients see it, at `url`."""

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._routing = f"/admin/v1/models/{model}/routing"

    def status(self, replicas: Mapping[str, Mapping[str, int]]) -> Status:
        """How it is now; what does not answer is left out."""
        index, table = self._json("/"), self._json(self._routing)
        ready = self._get("/v2/health/ready") is not None
        return Status(ready, replicas, tuple((index or {}).get("variants", ())), table)

    def index(self) -> dict[str, Any]:
        """Where everything is: `GET /`, empty if it does not answer."""
        return self._json("/") or {}

    def table(self) -> dict[str, Any] | None:
        """The routing table in force, None if nobody answers."""
        return self._json(self._routing)

    def traffic(self) -> Traffic:
        """Requests since the start, over all replicas; empty if nobody answers."""
        counted: Traffic = Counter()
        for family in text_string_to_metric_families((self._get("/metrics") or b"").decode()):
            for sample in family.samples:
                if sample.name == _REQUESTS:
                    key = (sample.labels["variant"], sample.labels["outcome"])
                    counted[key] += int(sample.value)
        return counted

    def _json(self, path: str) -> dict[str, Any] | None:
        content = self._get(path)
        found: dict[str, Any] | None = None if content is None else json.loads(content)
        return found

    def _get(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(self._url + path, timeout=_ANSWER_SECONDS) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None


def stream(
    console: Console,
    gateways: Gateways,
    replicas: Callable[[], Mapping[str, Mapping[str, int]]],
    stopped: Callable[[float], bool],
) -> None:
    """Print what changes until `stopped(seconds)`, which waits that long, says so."""
    seen, counted = gateways.status(replicas()), gateways.traffic()
    asked = since = time.monotonic()
    while not stopped(LOOK_SECONDS):
        now = gateways.status(seen.replicas)
        if now != seen or not seen.settled or time.monotonic() - asked >= REPLICAS_SECONDS:
            now, asked = replace(now, replicas=replicas()), time.monotonic()
        for line in now.lines(seen):
            _say(console, line)
        seen = now
        if (seconds := time.monotonic() - since) >= TRAFFIC_SECONDS:
            total = gateways.traffic()
            if line := describe_traffic(total - counted, seconds):
                _say(console, line)
            counted, since = total, time.monotonic()


def describe_traffic(new: Traffic, seconds: float) -> str:
    """One line on the requests of the last `seconds`; empty where there were none."""
    if not (number := new.total()):
        return ""
    by_variant: Counter[str] = Counter()
    by_outcome: Counter[str] = Counter()
    for (variant, outcome), count in new.items():
        by_variant[variant] += count
        by_outcome[outcome] += count
    variants = ", ".join(f"{name} {count:,}" for name, count in by_variant.most_common())
    others = [f"{count:,} {name}" for name, count in by_outcome.items() if name != "ok"]
    return f"{number:,} requests, {number / seconds:,.1f}/s: {variants}" + (
        f" ({', '.join(others)})" if others else ""
    )


def _say(console: Console, line: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')}  {line}", soft_wrap=True, highlight=False)


def _replicas(deployment: str, states: Mapping[str, int]) -> str:
    counted = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
    return f"{deployment}: {counted or 'no replica'}"


def _weights(table: Mapping[str, Any]) -> str:
    weights = ", ".join(f"{name} {weight:.4g}" for name, weight in table["weights"].items())
    shadow = table.get("shadow")
    return weights + (f", shadow {shadow['variant']} {shadow['sample_rate']:.4g}" if shadow else "")
