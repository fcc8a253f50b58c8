"""Calls for groups of requests: what comes while calls are under way goes together in the next one.

A call of a deployment costs a millisecond or two of processor time on its two sides, however many
requests it carries. So requests go in groups, as rows go in batches (`batching.py`), and without a
timer for a lone one: while fewer calls are under way than the replicas need to be busy, all that
came in one turn of the loop go at its end; otherwise they gather, and when a call returns, all that
wait go together, callers in turn (`fairness.py`). Measured over HTTP on 2 busy cores, requests of
one row for a model of some microseconds, medians of four rounds in turn, requests a second and p50:

    connections    a call each          in groups
    1              233     4.1 ms       326       2.7 ms
    16             723    20.6 ms       1,631     9.0 ms
    64             724    80.4 ms       3,324    18.4 ms

Those of a lone request are the machine's noise: in one server, switched to and fro, both ways took
the same. For a model of 5 ms a row it was a quarter more at 16 and 64 connections, and at 4 a tenth
less, which is within the noise.

The requests of a group stay requests: the replica's batcher queues, splits and times each by
itself, and one that fails does so alone. But they are answered together, when the last of them is
done. What bounds that wait:

- A group has no more rows than a batch, so that without other work in the queue its requests are
  computed together anyway.
- A request of more than a quarter of these rows, or of many bytes, is not grouped: it goes at once,
  in a call of its own.
- Nobody waits for calls that do not return: after `_PATIENCE_SECONDS` all that wait go, whatever is
  under way. So requests for a slow model gather where all gateways' callers take turns, in its
  replica.
- Everybody's time limit holds; who is late does not hold up the others.

What remains: one who is grouped with a caller that has much work waiting in the replica is answered
when that caller's request of the group is done, up to the time that a full queue takes.

A caller that vanishes while it waits is withdrawn. One whose group is under way is computed for
nobody, unless all of the group vanish: then the call is cancelled.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence

from serve_app.errors import QueueFullError
from serve_app.fairness import Computed, FairQueue, Waiting
from serve_app.runners.base import Arrays
from serve_app.sizes import Sizes

_PATIENCE_SECONDS = 0.02
_MOST_REQUESTS = 64
"""Of a group: what is decoded, or answered, in one turn of a loop holds up all others there."""
_LEAST_REQUESTS = 4
"""That fit into a group, or a request is too large for one."""
_LARGE_BYTES = 1 << 18
"""64 requests of these are 16 MiB; Ray Serve is told to carry 64 MiB (`launcher/flags.py`)."""
_CHARACTER_BYTES = 4

Outcome = Computed | Exception
Send = Callable[[Sequence[Waiting]], Awaitable[Sequence[Outcome]]]
"""Makes one call for a group: what became of each of its requests."""


class Groups:
    """Sends the requests of one gateway to one deployment. Belongs to one event loop."""

    def __init__(self, send: Send, *, name: str, calls: int, sizes: Sizes) -> None:
        """While fewer than `calls` calls are under way nobody waits for one to return."""
        self.sizes = sizes
        """As far as they are known; may change at any time."""
        self._send = send
        self._name = name
        self._calls = calls
        self._queue = FairQueue()
        self._under_way: dict[asyncio.Task[None], list[Waiting]] = {}
        self._turn: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def takes(self, inputs: Arrays, rows: int) -> bool:
        """Whether a request is small enough to be grouped."""
        return _LEAST_REQUESTS * rows <= self._most_rows and _bytes_of(inputs) <= _LARGE_BYTES

    async def submit(self, inputs: Arrays, rows: int, caller: str, deadline: float) -> Computed:
        """Have a request computed, in whatever group. Cancelling withdraws it while it waits.

        Raises:
            QueueFullError: too many rows wait. With nothing waiting any request is let in.
            Exception: what became of it, or of its whole call.
        """
        queue = self._queue
        if queue.rows and queue.rows + rows > self.sizes.queued_rows:
            raise self._full()
        loop = asyncio.get_running_loop()
        since = time.perf_counter()
        waiting = Waiting(inputs, rows, since, deadline, loop.create_future(), caller)
        queue.push(waiting)
        if len(self._under_way) < self._calls:
            if self._turn is None:
                self._turn = loop.call_soon(self._take_turn)
        else:
            self._be_patient()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._leave(waiting)
            raise

    @property
    def _most_rows(self) -> int:
        """Of a group: all of them must fit into the replica's queue."""
        return min(self.sizes)

    def _take_turn(self) -> None:
        self._turn = None
        self._go()

    def _go(self) -> None:
        """Send what may be sent; who stays is not forgotten."""
        while len(self._under_way) < self._calls and (group := self._take()):
            self._call(group)
        if self._queue.rows:
            self._be_patient()
        elif self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _be_patient(self) -> None:
        if self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(_PATIENCE_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        while group := self._take():
            self._call(group)

    def _take(self) -> list[Waiting]:
        """The next group: in turn, up to the caps."""
        queue, group, rows = self._queue, list[Waiting](), 0
        while len(group) < _MOST_REQUESTS and (waiting := queue.first()) is not None:
            rows += waiting.rows
            if group and rows > self._most_rows:
                break
            group.append(queue.take())
        return group

    def _call(self, group: list[Waiting]) -> None:
        # In a context of its own: Ray Serve cancels the calls made in a request's with the request.
        task = asyncio.get_running_loop().create_task(
            self._answer(group), context=contextvars.Context()
        )
        self._under_way[task] = group
        task.add_done_callback(self._returned)

    async def _answer(self, group: list[Waiting]) -> None:
        try:
            outcomes = await self._send(group)
        except Exception as error:  # noqa: BLE001 - each caller is told
            outcomes = [error] * len(group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.future.done():
                continue
            if isinstance(outcome, Computed):
                waiting.future.set_result(outcome)
            else:
                waiting.future.set_exception(outcome)

    def _returned(self, task: asyncio.Task[None]) -> None:
        for waiting in self._under_way.pop(task):
            waiting.future.cancel()
        if self._queue.rows:
            self._go()

    def _leave(self, waiting: Waiting) -> None:
        if waiting.queued:
            self._queue.withdraw(waiting)
            return
        for task, group in self._under_way.items():
            if all(each.future.done() for each in group):
                task.cancel()

    def _full(self) -> QueueFullError:
        return QueueFullError(
            f"variant {self._name!r} has {self._queue.rows} rows waiting, "
            f"at most {self.sizes.queued_rows} may: try again in 1 s"
        )


def _bytes_of(inputs: Arrays) -> int:
    """At most; what an array of texts says of itself is its pointers."""
    return sum(
        _CHARACTER_BYTES * sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes
        for array in inputs.values()
    )
