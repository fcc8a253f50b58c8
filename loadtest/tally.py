"""Microsecond histograms of a locust run, merged from its workers at the master.

Locust's own statistics round to whole milliseconds, in which a small model takes 0 or 1.
"""

from __future__ import annotations

from typing import Any

from loadtest.histogram import LatencyHistogram
from loadtest.recorder import OK, Recorder
from loadtest.validity import Limits

_NAMES = ("response", "service", "lag")
REPORT_KEY = "slimserve"


class Tally:
    """Counts and histograms of all requests so far.

    In a worker `take` hands over what is new since the last call; the master `add`s it up.
    """

    def __init__(self) -> None:
        self.histograms = {name: LatencyHistogram() for name in _NAMES}
        self.counts = dict.fromkeys(("ok", "rejected", "failed", "unfinished", "dropped"), 0)

    @staticmethod
    def take(recorder: Recorder) -> dict[str, Any]:
        """What a recorder gathered since the last call, ready to be sent; empties it."""
        ok, rejected = recorder.statuses.pop(OK, 0), recorder.statuses.pop(429, 0)
        counts = {
            "ok": ok,
            "rejected": rejected,
            "failed": recorder.statuses.total(),
            "unfinished": recorder.n_unfinished,
            "dropped": recorder.n_dropped,
        }
        recorder.statuses.clear()
        recorder.n_unfinished = recorder.n_dropped = 0
        folded = {name: histogram.encode() for name, histogram in recorder.fold().items()}
        return {"counts": counts, "histograms": folded}

    def add(self, report: dict[str, Any]) -> None:
        """Add what `take` gave, in this process or in a worker."""
        for name, number in report["counts"].items():
            self.counts[name] += number
        for name, encoded in report["histograms"].items():
            self.histograms[name].merge(encoded)

    def faults(self, limits: Limits, open_loop: bool) -> tuple[str, ...]:
        """Why the run must not be quoted; a closed loop has no schedule to be late for."""
        if not open_loop:
            return ()
        found = []
        lag = self.histograms["lag"].quantiles().p99_seconds
        if lag is not None and lag > limits.lag_seconds:
            found.append(
                f"dispatch-lag p99 is {lag * 1e3:.2f} ms, over {limits.lag_share:.0%} of the SLO"
            )
        if self.counts["dropped"]:
            found.append(f"{self.counts['dropped']} requests were dropped by a full pool")
        if not self.histograms["response"].quantiles().p99_sufficient:
            found.append("fewer than 459 samples, too few for a p99")
        return tuple(found)

    def document(self) -> dict[str, Any]:
        """Counts, quantiles (seconds) and encoded histograms."""
        return {
            "counts": self.counts,
            "quantiles": {n: h.quantiles().model_dump() for n, h in self.histograms.items()},
            "histograms": {name: h.encode() for name, h in self.histograms.items()},
        }
