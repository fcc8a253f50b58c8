"""What one open-loop run found, as a frozen document."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from loadtest.documents import Document
from loadtest.histogram import Quantiles


class ProbeSpec(Document):
    """One open-loop run to be made. An empty `variant` leaves the choice to the router."""

    variant: str = ""
    rate_per_second: PositiveFloat
    duration_seconds: PositiveFloat
    arrival: str = "poisson"
    seed: int = 0
    max_in_flight: PositiveInt = 256
    """Size of the pool; a request that finds it full is dropped, never delayed."""
    drain_seconds: PositiveFloat = 2.0
    """How long answers are awaited after the last send, seconds."""
    stop_over_seconds: PositiveFloat | None = None
    """Stop as soon as more than 1 % of all planned requests have exceeded this response time:
    from there p99 is above it whatever comes. None runs to the end."""


class Measurement(Document):
    """Result of one open-loop run.

    `response` counts from the intended send, `service` from the real one, `lag` is the time in
    between, which is the generator's own lateness. All three hold answered requests (status 200)
    and, as lower bounds, those that had no answer when the run ended.
    """

    spec: ProbeSpec
    scheduled: int
    """Requests taken from the schedule."""
    elapsed_seconds: float
    sent: int
    ok: int
    rejected: int
    """Answered 429."""
    failed: int
    """Any other status, or the connection broke."""
    unfinished: int
    """Still without an answer when the run ended."""
    dropped: int
    """Never sent: every connection of the pool was waiting for an answer."""
    achieved_rate_per_second: float
    response: Quantiles
    service: Quantiles
    lag: Quantiles
    statuses: dict[str, int] = Field(default_factory=dict)
    answered_by: dict[str, int] = Field(default_factory=dict)
    """Variant named in the response → count, of the answers that were looked into."""
    stopped_early: bool = False
    generator_cpu_seconds: float = 0.0
    generator_cpu_share: float = 0.0
    """CPU seconds of the generator per second of the run; it can use one core at most."""

    @property
    def achieved_ratio(self) -> float:
        """Achieved rate over the rate of the schedule, which has a whole number of requests."""
        spec = self.spec
        planned = max(1, round(spec.rate_per_second * spec.duration_seconds))
        return self.achieved_rate_per_second / (planned / spec.duration_seconds)

    @property
    def error_share(self) -> float:
        """Share of the schedule that was rejected, failed, unfinished or dropped."""
        bad = self.rejected + self.failed + self.unfinished + self.dropped
        return bad / max(1, self.sent + self.dropped)


class Histograms(Document):
    """Encoded HdrHistograms of one run, µs (base64 of the compressed V2 format)."""

    response: str
    service: str
    lag: str


class Probe(Document):
    """A measurement with its raw histograms."""

    measurement: Measurement
    histograms: Histograms


class ClosedSpec(Document):
    """One closed-loop run: every connection sends its next request when the last is answered."""

    variant: str = ""
    connections: PositiveInt
    duration_seconds: PositiveFloat


class ClosedResult(Document):
    """Saturated throughput and its latency. Closed loop: latencies leave out server stalls."""

    spec: ClosedSpec
    ok: int
    errors: int
    requests_per_second: float
    latency: Quantiles
    generator_cpu_share: float
