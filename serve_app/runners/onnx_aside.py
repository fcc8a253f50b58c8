"""ONNX Runtime's own way to compute beside the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from serve_app.runners.base import Arrays, Done, Outcome
from serve_app.runners.providers import CPU, open_session


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
        self._session = open_session(artifact, (CPU,), threads + 1)
        self._inputs, self._outputs = tuple(inputs), list(outputs)
        self._idle = threading.Condition()
        self._under_way = 0
        self._closed = False
        self._free_since = 0.0

    def begin(self, inputs: Arrays, done: Done) -> None:
        """See `Aside.begin`. Batches are computed one after the other, in their order."""
        if self._closed:
            raise RuntimeError("closed")
        # They have to stay as long as the worker reads them.
        feed = {name: inputs[name] for name in self._inputs}
        begun = time.perf_counter()

        def computed(values: Sequence[Any], _: object, message: str) -> None:
            ended = time.perf_counter()
            started = max(begun, self._free_since)
            self._free_since = ended
            outputs, error = None, None
            if message:
                error = RuntimeError(message)
            else:
                outputs = dict(zip(self._outputs, values, strict=True))
            feed.clear()
            try:
                done(Outcome(outputs, error, started, ended - started))
            finally:
                with self._idle:
                    self._under_way -= 1
                    self._idle.notify_all()

        with self._idle:
            self._under_way += 1
        self._session.run_async(self._outputs, feed, computed, None)

    def close(self) -> None:
        """See `Aside.close`. Waits for what is being computed, a few milliseconds.

        Whoever gives a session up waits, with Python's lock, for its threads; and they wait for the
        lock as long as they have a batch to give back.
        """
        self._closed = True
        with self._idle:
            self._idle.wait_for(lambda: not self._under_way)
