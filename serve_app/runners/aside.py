"""Where batches are computed that would hold up the event loop: beside it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from serve_app.runners.base import Arrays, Aside, Done, Outcome, Run


class Threads:
    """Any runner, in threads of Python's: one for each batch that may be computed at once.

    Such a thread needs Python's lock before it can begin, and again before it can say that it is
    done: where the event loop is busy it waits for either.
    """

    def __init__(self, run: Run, name: str, lanes: int) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix=f"infer-{name}")

    def begin(self, inputs: Arrays, done: Done) -> None:
        """See `Aside.begin`."""
        self._pool.submit(self._compute, inputs, done)

    def _compute(self, inputs: Arrays, done: Done) -> None:
        done(compute(self._run, inputs))

    def close(self) -> None:
        """See `Aside.close`. What is being computed is not waited for."""
        self._pool.shutdown(wait=False)


def compute(run: Run, inputs: Arrays) -> Outcome:
    """Compute here and now."""
    started = time.perf_counter()
    outputs, failure = None, None
    try:
        outputs = run(inputs)
    except Exception as error:  # noqa: BLE001 - a runner may raise anything
        failure = error
    return Outcome(outputs, failure, started, time.perf_counter() - started)


def failed(error: Exception) -> Outcome:
    """Of a batch that was never begun."""
    return Outcome(None, error, time.perf_counter(), 0.0)


def wait_for(aside: Aside, inputs: Arrays) -> Arrays:
    """Compute there and wait; raises what the runner raises."""
    over, outcomes = threading.Event(), list[Outcome]()

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        over.set()

    aside.begin(inputs, done)
    over.wait()
    [outcome] = outcomes
    if outcome.error is not None:
        raise outcome.error
    return outcome.outputs or {}
