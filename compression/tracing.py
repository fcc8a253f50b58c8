"""Keeps training out of an export's way.

While torch exports, a flag of the whole process says so, and optimisers in other threads then go
through the same global tracing dictionary as the exporter: one of the two ends in a KeyError. So
training steps share this gate, and an export has it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class TracingGate:
    """Many steps at once, or one export; an export that waits goes before new steps."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._steps = 0
        self._exporting = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """A training step, or the making of an optimiser; waits while an export runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._exporting)
            self._steps += 1
        try:
            yield
        finally:
            with self._changed:
                self._steps -= 1
                self._changed.notify_all()

    @contextmanager
    def export(self) -> Iterator[None]:
        """An export; waits until steps under way and other exports have ended."""
        with self._changed:
            self._changed.wait_for(lambda: not self._exporting)
            self._exporting = True
            self._changed.wait_for(lambda: self._steps == 0)
        try:
            yield
        finally:
            with self._changed:
                self._exporting = False
                self._changed.notify_all()


TRACING = TracingGate()
