"""Latencies in whole microseconds, in HdrHistograms that can be merged and published.

Range 1 µs to 10 minutes, three significant digits: 99.95 % of the truth or better at any value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

from loadtest.documents import Document

_LOWEST, _HIGHEST, _DIGITS = 1, 600_000_000, 3

CONFIDENCE = 0.99


def samples_needed(quantile: float) -> int:
    """Fewest samples that contain one above the quantile with 99 % confidence.

    n such that quantile**n ≤ 0.01: p99 needs 459, p99.9 4,603.
    """
    return math.ceil(math.log(1.0 - CONFIDENCE) / math.log(quantile))


class Quantiles(Document):
    """Quantiles of a latency, seconds; all None without samples."""

    count: int
    p50_seconds: float | None = None
    p90_seconds: float | None = None
    p99_seconds: float | None = None
    p999_seconds: float | None = None
    max_seconds: float | None = None

    @property
    def p99_sufficient(self) -> bool:
        """Whether there are samples enough to quote p99."""
        return self.count >= samples_needed(0.99)

    @property
    def p999_sufficient(self) -> bool:
        """Whether there are samples enough to quote p99.9."""
        return self.count >= samples_needed(0.999)


class LatencyHistogram:
    """Mergeable distribution of a latency."""

    def __init__(self) -> None:
        self._hdr = HdrHistogram(_LOWEST, _HIGHEST, _DIGITS)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return int(self._hdr.get_total_count())

    def record(self, microseconds: int) -> None:
        """Add one value, µs; values out of range count as the nearest end."""
        self._hdr.record_value(min(max(microseconds, _LOWEST), _HIGHEST))

    def record_all(self, microseconds: Iterable[int]) -> None:
        """Add many values, µs."""
        for value in microseconds:
            self.record(value)

    def merge(self, encoded: str) -> None:
        """Add another process's histogram, as `encode` gave it."""
        self._hdr.decode_and_add(encoded.encode("ascii"))

    def encode(self) -> str:
        """Compressed, base64: readable by every HdrHistogram implementation."""
        return bytes(self._hdr.encode()).decode("ascii")

    @classmethod
    def decode(cls, encoded: str) -> LatencyHistogram:
        """The histogram that `encode` wrote."""
        histogram = cls()
        histogram.merge(encoded)
        return histogram

    def seconds_at(self, quantile: float) -> float:
        """Latency at a quantile in (0, 1), seconds."""
        return float(self._hdr.get_value_at_percentile(quantile * 100.0)) / 1e6

    def quantiles(self) -> Quantiles:
        """The usual quantiles, seconds."""
        if not self.count:
            return Quantiles(count=0)
        return Quantiles(
            count=self.count,
            p50_seconds=self.seconds_at(0.50),
            p90_seconds=self.seconds_at(0.90),
            p99_seconds=self.seconds_at(0.99),
            p999_seconds=self.seconds_at(0.999),
            max_seconds=float(self._hdr.get_max_value()) / 1e6,
        )
