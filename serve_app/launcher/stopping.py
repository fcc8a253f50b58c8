"""SIGINT and SIGTERM as an event, so that whatever runs is stopped in order."""

from __future__ import annotations

import signal
import threading


class StopSignal:
    """An event that SIGINT and SIGTERM set, while it is entered.

    A job in a script's background ignores SIGINT otherwise. Ray, when it starts, puts a handler of
    its own in place that aborts on SIGTERM and so leaves HAProxy behind: `again` puts ours back.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def __enter__(self) -> StopSignal:
        self._before = [signal.getsignal(number) for number in self._SIGNALS]
        self.again()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self._SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def again(self) -> None:
        """Put the handlers in place."""
        for number in self._SIGNALS:
            signal.signal(number, lambda *_: self._stopped.set())

    def came(self, seconds: float = 0.0) -> bool:
        """Whether a signal came, waiting for one that long."""
        return self._stopped.wait(seconds)
