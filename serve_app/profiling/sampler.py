"""Samples which stage the main thread is in, by a timer signal.

The handler runs in the thread that is sampled, at the bytecode that follows the moment, so time
in C counts for the function that called it, and no lock decides when a sample falls. A thread that
samples would wake where the interpreter's lock is let go, which is in the model.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from types import FrameType

from serve_app.profiling.stages import stage_of

MEAN_SECONDS = 0.002


class Sampler:
    """Counts samples by stage while it is entered; the main thread's, on POSIX."""

    def __init__(self, mean_seconds: float = MEAN_SECONDS, seed: int = 0) -> None:
        """Samples fall `mean_seconds` apart on average, at random: not in step with requests."""
        self.samples: Counter[str] = Counter()
        self._mean_seconds = mean_seconds
        self._random = random.Random(seed)
        self._before: object = None
        self._entered = False

    def __enter__(self) -> Sampler:
        self._entered = True
        self._before = signal.signal(signal.SIGALRM, self._sample)
        self._arm()
        return self

    def __exit__(self, *_: object) -> None:
        # A signal that has come, and whose handler runs only now, must not set the timer again: the
        # next one would be another's, or the end of the process.
        self._entered = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self._before)  # type: ignore[arg-type]  # what it gave us

    def _arm(self) -> None:
        pause = self._random.uniform(0.5, 1.5) * self._mean_seconds
        signal.setitimer(signal.ITIMER_REAL, pause)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        self.samples[stage_of(frame)] += 1
        if self._entered:
            self._arm()
