"""A store of exportable students, for tests that read it."""

from __future__ import annotations

from dataclasses import dataclass

from compression.store import Samples

SAMPLE_ROWS = 1000
ALERT_SHARE = 0.1


@dataclass(frozen=True)
class Students:
    """A store with students in both precisions."""

    store: str
    samples: Samples
