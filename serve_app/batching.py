"""Batching without a timer.

While an inference runs, requests gather; when it ends, all that wait go together, up to a cap
counted in rows. A lone request never waits for company. (`@serve.batch` waits its whole window for
a lone request, its queue has no bound, and it counts requests, not rows.)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol

import numpy as np

from serve_app.errors import DeadlineExceededError, QueueFullError
from serve_app.expiry import Expiry
from serve_app.fairness import Computed as Computed
from serve_app.fairness import FairQueue, Waiting
from serve_app.pace import Pace
from serve_app.runners.aside import Threads, compute, failed
from serve_app.runners.base import Arrays, Aside, Done, Outcome, Run
from serve_app.terms import ANYBODY, Terms

_ALLOWANCE = 1.25
"""Of the time a batch is expected to take: who would be ready just in time would often be late."""

_HOLD_SECONDS = 1e-3
"""How long batches may hold the loop one after the other."""

_ANOTHER = 0.5
"""Of a full batch has to wait before one goes beside another: smaller ones cost more a row."""


_NOT_YET = Outcome(None, None, 0.0, 0.0)


class BatchObserver(Protocol):
    """Told about every batch that was computed."""

    def batch(self, rows: int, seconds: float) -> None:
        """A batch of `rows` rows went through the model in `seconds`."""
        ...


@dataclass(eq=False, slots=True)
class _Batch:
    """What is computed together, and what came of it."""

    waiting: list[Waiting]
    rows: int
    outcome: Outcome


class Batcher:
    """Feeds one runner. Belongs to one event loop.

    A batch of more than `direct_rows` rows is computed `aside`, so that the loop goes on; a smaller
    one on the loop itself, where nothing but the inference has to be waited for. Either way the
    batch is taken one turn of the loop after its first request, with all that were decoded in that
    turn. Measured over HTTP on 2 busy cores, one process without Ray, requests of one row:

        model     way                          1 connection, p50    32 connections
        12 µs     thread                       295 µs               8,600 req/s
                  on the loop, next turn       220 µs               8,450 req/s
                  on the loop, at once         199 µs               5,200 req/s
        56 µs     thread                       328 µs               8,500 req/s
                  on the loop, next turn       263 µs               8,300 req/s
                  on the loop, at once         245 µs               4,100 req/s

    So a thread costs a lone request 65-75 µs, and at once costs everybody their company.

    With `lanes` of 2 another batch goes aside when it is half full. Whoever has computed waits for
    Python's lock before it can say so, as long as the loop has something to do: without another
    batch under way loop and model take turns, on two cores as on one.

    Callers take turns (`fairness.py`). A request of more rows than a batch may have is computed in
    pieces, each of them in its turn. A request has `timeout_seconds`, or less if its terms say so:
    once they are over it is answered so, and if it waited it is not computed any more.
    """

    def __init__(
        self,
        run: Run,
        *,
        name: str,
        max_batch_rows: int,
        max_queued_rows: int,
        timeout_seconds: float,
        direct_rows: int = 0,
        lanes: int = 1,
        aside: Aside | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        """`aside` is, by default, threads in which `run` is called."""
        self._run = run
        self._name = name
        self._max_batch_rows = max_batch_rows
        self._max_queued_rows = max_queued_rows
        self._timeout_seconds = timeout_seconds
        self._direct_rows = direct_rows
        self._lanes = lanes
        self._observer = observer
        self._pace = Pace()
        self._queue = FairQueue()
        self._computing: list[_Batch] = []
        """Aside, or being tried again."""
        self._expiry = Expiry(self._live, self._expire)
        self._turn: asyncio.Handle | None = None
        self._retries: set[asyncio.Task[None]] = set()
        self._aside = aside or Threads(run, name, lanes)

    @property
    def queued_rows(self) -> int:
        """Rows that wait, not counting those being computed."""
        return self._queue.rows

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being computed."""
        return self._turn is None and not self._computing

    async def submit(self, inputs: Arrays, rows: int, terms: Terms = ANYBODY) -> Computed:
        """Compute a request. Cancelling the caller withdraws it while it waits.

        Raises:
            QueueFullError: more rows wait than `max_queued_rows` allows. With nothing waiting
                any request is let in.
            DeadlineExceededError: its time is over.
            Exception: whatever the runner raises for this request.
        """
        queued = self._queue.rows
        if queued and queued + rows > self._max_queued_rows:
            raise self._full()
        since = time.perf_counter()
        deadline = since + self._timeout_seconds
        if terms.deadline < deadline:
            deadline = terms.deadline
            if deadline <= since:
                raise self._late()
        if rows > self._max_batch_rows:
            return await self._submit_pieces(inputs, rows, terms.caller, since, deadline)
        waiting = self._enter(inputs, rows, terms.caller, since, deadline)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._queue.withdraw(waiting)
            raise

    async def close(self) -> None:
        """Stop; whoever still waits is cancelled."""
        self._expiry.close()
        for waiting in list(self._queue):
            waiting.future.cancel()
            self._queue.withdraw(waiting)
        for retry in self._retries:
            retry.cancel()
        self._aside.close()

    def _enter(
        self, inputs: Arrays, rows: int, caller: str, since: float, deadline: float
    ) -> Waiting:
        loop = asyncio.get_running_loop()
        waiting = Waiting(inputs, rows, since, deadline, loop.create_future(), caller)
        self._queue.push(waiting)
        if deadline < self._expiry.next:
            self._expiry.watch(deadline)
        if self._turn is None and self._may_begin():
            self._turn = loop.call_soon(self._take_turn)
        return waiting

    async def _submit_pieces(
        self, inputs: Arrays, rows: int, caller: str, since: float, deadline: float
    ) -> Computed:
        size = self._max_batch_rows
        pieces = [
            self._enter(
                {name: array[start : start + size] for name, array in inputs.items()},
                min(size, rows - start), caller, since, deadline,
            )
            for start in range(0, rows, size)
        ]  # fmt: skip
        try:
            return _joined(await asyncio.gather(*(piece.future for piece in pieces)))
        finally:
            for piece in pieces:
                piece.future.cancel()
                self._queue.withdraw(piece)

    def _may_begin(self) -> bool:
        """Whether what waits may be computed now, or gathers on."""
        busy = len(self._computing)
        return not busy or (
            busy < self._lanes and self._queue.rows >= _ANOTHER * self._max_batch_rows
        )

    def _take_turn(self) -> None:
        """Batch after batch: on the loop, or aside if a lane is free.

        Those on the loop make way for it now and then, not after each: in a turn of a busy loop
        more requests come than one small batch holds.
        """
        self._turn = None
        make_way = time.perf_counter() + _HOLD_SECONDS
        while self._queue.rows and self._may_begin():
            batch = self._take()
            if batch.rows > self._direct_rows:
                self._start(batch)
                continue
            if batch.waiting:
                self._compute(batch)
                self._settle(batch)
            if self._queue.rows and time.perf_counter() > make_way:
                self._turn = asyncio.get_running_loop().call_soon(self._take_turn)
                return

    def _compute(self, batch: _Batch) -> None:
        """On the loop."""
        try:
            inputs = _concatenate(batch.waiting)
        except Exception as error:  # noqa: BLE001 - shapes that do not fit, or no memory
            batch.outcome = failed(error)
        else:
            batch.outcome = compute(self._run, inputs)

    def _settle(self, batch: _Batch) -> None:
        """Give each of a batch that was computed its part, or try each once more."""
        if batch.outcome.error is None:
            self._share(batch)
            return
        self._computing.append(batch)
        retry = asyncio.get_running_loop().create_task(self._compute_singly(batch))
        self._retries.add(retry)
        retry.add_done_callback(self._retries.discard)

    def _start(self, batch: _Batch) -> None:
        try:
            self._begin(batch, partial(self._come_back, batch))
        except Exception as error:  # noqa: BLE001 - shapes that do not fit, no memory, or closed
            batch.outcome = failed(error)
            self._settle(batch)
        else:
            self._computing.append(batch)

    def _begin(self, batch: _Batch, back: Done) -> None:
        """Aside; `back` is called on the loop."""
        loop = asyncio.get_running_loop()

        def done(outcome: Outcome) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(back, outcome)

        self._aside.begin(_concatenate(batch.waiting), done)

    def _come_back(self, batch: _Batch, outcome: Outcome) -> None:
        """A lane is free again. The next batch goes before the answers of this one are written."""
        batch.outcome = outcome
        self._computing.remove(batch)
        self._settle(batch)
        self._go_on()

    def _go_on(self) -> None:
        if self._turn is None and self._queue.rows and self._may_begin():
            self._take_turn()

    def _take(self) -> _Batch:
        """The next batch: in turn, up to the cap.

        Whoever's time will be over before the batch is done is dropped: computed in vain, under
        overload it would make all those behind it late as well. Not the last one, though, while
        its time is not over: it renews the estimate.
        """
        queue, batch, rows = self._queue, list[Waiting](), 0
        now = time.perf_counter()
        ready = now + _ALLOWANCE * self._pace.batch_seconds
        while queue.rows and (waiting := queue.first()) is not None:
            if waiting.deadline <= ready and (
                batch or queue.rows > waiting.rows or waiting.deadline <= now
            ):
                self._expire(waiting)
                continue
            if batch and rows + waiting.rows > self._max_batch_rows:
                break
            rows += waiting.rows
            batch.append(queue.take())
        return _Batch(batch, rows, _NOT_YET)

    def _share(self, batch: _Batch) -> None:
        outputs, _, started, seconds = batch.outcome
        outputs = outputs or {}
        self._count(batch.rows, seconds)
        if len(batch.waiting) == 1:
            waiting = batch.waiting[0]
            _resolve(waiting, Computed(outputs, started - waiting.since, seconds))
            return
        start = 0
        for waiting in batch.waiting:
            end = start + waiting.rows
            share = {name: array[start:end] for name, array in outputs.items()}
            _resolve(waiting, Computed(share, started - waiting.since, seconds))
            start = end

    async def _compute_singly(self, batch: _Batch) -> None:
        """One poisonous request must fail alone: after a failed batch each is tried once more."""
        try:
            if len(batch.waiting) == 1 and batch.outcome.error is not None:
                _reject(batch.waiting[0], batch.outcome.error)
                return
            for waiting in batch.waiting:
                if not waiting.future.done():
                    alone = _Batch([waiting], waiting.rows, _NOT_YET)
                    await self._infer(alone)
                    if alone.outcome.error is None:
                        self._share(alone)
                    else:
                        _reject(waiting, alone.outcome.error)
        finally:
            self._computing.remove(batch)
            self._go_on()

    async def _infer(self, batch: _Batch) -> None:
        if batch.rows <= self._direct_rows:
            self._compute(batch)
            return
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            self._begin(batch, lambda found: None if outcome.done() else outcome.set_result(found))
        except RuntimeError as error:  # closed
            batch.outcome = failed(error)
        else:
            batch.outcome = await outcome

    def _count(self, rows: int, seconds: float) -> None:
        """Note a batch that was computed."""
        self._pace.batch(rows, seconds)
        if self._observer is not None:
            self._observer.batch(rows, seconds)

    def _live(self) -> Iterator[Waiting]:
        computing = (batch.waiting for batch in self._computing)
        return chain(*computing, self._queue)

    def _expire(self, waiting: Waiting) -> None:
        self._queue.withdraw(waiting)
        _reject(waiting, self._late())

    def _late(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"variant {self._name!r} has no answer within the time allowed, {self._queue.rows} "
            f"rows are waiting: allow more (at most {self._timeout_seconds:g} s) or try again later"
        )

    def _full(self) -> QueueFullError:
        seconds = self._pace.retry_after_seconds(self._queue.rows)
        return QueueFullError(
            f"variant {self._name!r} has {self._queue.rows} rows waiting, "
            f"at most {self._max_queued_rows} may: try again in {seconds} s",
            seconds,
        )


def _concatenate(batch: list[Waiting]) -> Arrays:
    if len(batch) == 1:
        return batch[0].inputs
    return _stack([waiting.inputs for waiting in batch])


def _stack(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _joined(pieces: list[Computed]) -> Computed:
    """A request's pieces as one: it waited until the first, and computed in all of them."""
    return Computed(
        _stack([piece.outputs for piece in pieces]),
        min(piece.queue_seconds for piece in pieces),
        sum(piece.infer_seconds for piece in pieces),
    )


def _resolve(waiting: Waiting, computed: Computed) -> None:
    if not waiting.future.done():
        waiting.future.set_result(computed)


def _reject(waiting: Waiting, error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
