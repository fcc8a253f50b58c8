"""ONNX Runtime's own way to compute beside the event loop."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from serve_app.runners.base import Arrays, Done, Outcome
from serve_app.runners.providers import CPU, open_session

_FAREWELL_SECONDS = 0.1


class Worker:
    """A thread of ONNX Runtime's that takes the next batch without Python's lock.

    Between two batches a thread of Python's waits for that lock twice (`Threads`): with requests of
    32 rows from 16 connections half a millisecond to begin and a third of one to say that it is
    done, for batches of one. Measured over HTTP on 2 cores, one process without Ray, the int8
    student, four interleaved rounds: 4,381 and 4,409 req/s at 16 and 64 connections with two
    threads, 7,331 and 6,429 with one worker, 320 and 226 µs of CPU a request. Two workers beside
    each other were slower than one, 5,034 and 5,629.

    It has a session of its own, for one of several threads is a third slower where the caller
    computes himself.
    """

    def __init__(
        self, artifact: bytes, inputs: Sequence[str], outputs: Sequence[str], threads: int
    ) -> None:
        # Whoever calls counts as a thread of the pool: the worker is the first beside it.
        self._session: Any = open_session(artifact, (CPU,), threads + 1)
        self._inputs, self._outputs = tuple(inputs), list(outputs)
        self._line = _Line()

    def begin(self, inputs: Arrays, done: Done) -> None:
        """See `Aside.begin`. With one thread batches are computed one after the other, in their
        order; with more two may be computed at once, and how long the second took is a guess."""
        if self._session is None:
            raise RuntimeError("closed")
        # They have to stay as long as the worker reads them.
        feed = {name: inputs[name] for name in self._inputs}
        # Not this object: the worker must not be who gives it up.
        line, outputs, begun = self._line, self._outputs, time.perf_counter()

        def computed(values: Sequence[Any], _: object, message: str) -> None:
            ended = time.perf_counter()
            started = max(begun, line.free_since)
            line.free_since = ended
            feed.clear()
            named = None if message else dict(zip(outputs, values, strict=True))
            error = RuntimeError(message) if message else None
            try:
                done(Outcome(named, error, started, ended - started))
            finally:
                line.left()

        line.joined()
        try:
            self._session.run_async(outputs, feed, computed, None)
        except BaseException:
            line.left()
            raise

    def close(self) -> None:
        """See `Aside.close`. What is under way is computed and given back."""
        session, self._session = self._session, None
        # While the interpreter ends no thread begins any more, and none comes back.
        if session is not None and not sys.is_finalizing():
            threading.Thread(target=_give_up, args=(session, self._line), daemon=True).start()

    def __del__(self) -> None:
        if hasattr(self, "_line"):  # the session was opened
            self.close()


class _Line:
    """Batches that were begun and not given back yet."""

    def __init__(self) -> None:
        self.free_since = 0.0
        """When the last one was done."""
        self._changed = threading.Condition()
        self._under_way = 0

    def joined(self) -> None:
        """One more."""
        with self._changed:
            self._under_way += 1

    def left(self) -> None:
        """One less."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def wait_until_empty(self) -> None:
        """Wait for the last one to leave."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)


def _give_up(session: Any, line: _Line) -> None:
    """Free a session when its thread has nothing to do with Python any more.

    Whoever frees it waits, with Python's lock, for the thread; and that waits for the lock as long
    as it has a batch to give back, or comes from there.
    """
    line.wait_until_empty()
    time.sleep(_FAREWELL_SECONDS)
    del session
