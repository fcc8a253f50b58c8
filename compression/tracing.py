"""Keeps chains that work in threads out of each other's way, where torch has one state for all.

While torch exports, a flag of the whole process says so, and whatever torch excludes from tracing
(optimisers, `torch.manual_seed`) in other threads then goes through the same global dictionary as
the exporter: one of the two ends in a KeyError. And torch has one generator of random numbers, so
two networks that draw their first weights at once get weights that no seed repeats. So training
steps share this gate; an export, and the making of a network, have it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class TracingGate:
    """Many steps at once, or one alone; who waits to be alone goes before new steps."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._steps = 0
        self._taken = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """A training step, or the making of an optimiser; waits while another is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._steps += 1
        try:
            yield
        finally:
            with self._changed:
                self._steps -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """An export, or first weights; waits until all who are inside have left. Not reentrant."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
            self._changed.wait_for(lambda: self._steps == 0)
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


TRACING = TracingGate()
