"""Batching without a timer.

While one inference runs, requests gather; when it ends, all that wait go together, up to a cap
counted in rows. A lone request never waits for company. (`@serve.batch` waits its whole window for
a lone request, its queue has no bound, and it counts requests, not rows.)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from serve_app.errors import QueueFullError
from serve_app.runners.base import Arrays

Run = Callable[[Mapping[str, npt.NDArray[Any]]], Arrays]


class Computed(NamedTuple):
    """A request's share of a batch. Times in seconds; the inference is the whole batch's."""

    outputs: Arrays
    queue_seconds: float
    infer_seconds: float


class BatchObserver(Protocol):
    """Told about every batch that was computed."""

    def batch(self, rows: int) -> None:
        """A batch of `rows` rows went through the model."""
        ...


@dataclass(eq=False, slots=True)
class _Waiting:
    inputs: Arrays
    rows: int
    since: float
    future: asyncio.Future[Computed]


class Batcher:
    """Feeds one runner. Belongs to one event loop.

    A batch of more than `direct_rows` rows is computed in a thread, so that the loop goes on; a
    smaller one on the loop itself, where nothing but the inference has to be waited for. Either
    way the batch is taken one turn of the loop after its first request, with all that were decoded
    in that turn. Measured over HTTP on 2 busy cores, one process without Ray, requests of one row:

        model     way                          1 connection, p50    32 connections
        12 µs     thread                       295 µs               8,600 req/s
                  on the loop, next turn       220 µs               8,450 req/s
                  on the loop, at once         199 µs               5,200 req/s
        56 µs     thread                       328 µs               8,500 req/s
                  on the loop, next turn       263 µs               8,300 req/s
                  on the loop, at once         245 µs               4,100 req/s

    So a thread costs a lone request 65-75 µs, and at once costs everybody their company.
    """

    def __init__(
        self,
        run: Run,
        *,
        name: str,
        max_batch_rows: int,
        max_queued_rows: int,
        direct_rows: int = 0,
        observer: BatchObserver | None = None,
    ) -> None:
        self._run = run
        self._name = name
        self._max_batch_rows = max_batch_rows
        self._max_queued_rows = max_queued_rows
        self._direct_rows = direct_rows
        self._observer = observer
        self._waiting: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"infer-{name}")

    @property
    def queued_rows(self) -> int:
        """Rows that wait, not counting those being computed."""
        return self._queued_rows

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being computed."""
        return self._worker is None

    async def submit(self, inputs: Arrays, rows: int) -> Computed:
        """Compute a request. Cancelling the caller withdraws it while it waits.

        Raises:
            QueueFullError: more rows wait than `max_queued_rows` allows.
            Exception: whatever the runner raises for this request.
        """
        idle = self._worker is None
        if not idle and self._queued_rows + rows > self._max_queued_rows:
            raise QueueFullError(
                f"variant {self._name!r} has {self._queued_rows} rows waiting, "
                f"at most {self._max_queued_rows} may: try again"
            )
        loop = asyncio.get_running_loop()
        waiting = _Waiting(inputs, rows, time.perf_counter(), loop.create_future())
        self._waiting.append(waiting)
        self._queued_rows += rows
        if idle:
            self._worker = loop.create_task(self._work())
        try:
            return await waiting.future
        finally:
            if waiting.future.cancelled() and waiting in self._waiting:
                self._waiting.remove(waiting)
                self._queued_rows -= rows

    async def close(self) -> None:
        """Stop; whoever still waits is cancelled."""
        if self._worker is not None:
            self._worker.cancel()
        for waiting in self._waiting:
            waiting.future.cancel()
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        try:
            while batch := self._take():
                await self._compute(batch)
        finally:
            self._worker = None

    def _take(self) -> list[_Waiting]:
        """The next batch: in order of arrival, up to the cap, at least one request."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= self._max_batch_rows):
            waiting = self._waiting.popleft()
            self._queued_rows -= waiting.rows
            if not waiting.future.done():
                batch.append(waiting)
                rows += waiting.rows
        return batch

    async def _compute(self, batch: list[_Waiting]) -> None:
        started = time.perf_counter()
        try:
            outputs = await self._infer(
                _concatenate([waiting.inputs for waiting in batch]),
                sum(waiting.rows for waiting in batch),
            )
        except Exception as error:  # noqa: BLE001 - a runner may raise anything
            await self._compute_singly(batch, error)
            return
        seconds = time.perf_counter() - started
        self._observe(sum(waiting.rows for waiting in batch))
        start = 0
        for waiting in batch:
            share = {name: array[start : start + waiting.rows] for name, array in outputs.items()}
            start += waiting.rows
            _resolve(waiting, Computed(share, started - waiting.since, seconds))

    async def _compute_singly(self, batch: list[_Waiting], error: Exception) -> None:
        """One poisonous request must fail alone: after a failed batch each is tried once more."""
        if len(batch) == 1:
            _reject(batch[0], error)
            return
        for waiting in batch:
            if waiting.future.done():
                continue
            started = time.perf_counter()
            try:
                outputs = await self._infer(waiting.inputs, waiting.rows)
            except Exception as own:  # noqa: BLE001 - a runner may raise anything
                _reject(waiting, own)
                continue
            seconds = time.perf_counter() - started
            self._observe(waiting.rows)
            _resolve(waiting, Computed(outputs, started - waiting.since, seconds))

    async def _infer(self, inputs: Arrays, rows: int) -> Arrays:
        if rows <= self._direct_rows:
            return self._run(inputs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, inputs)

    def _observe(self, rows: int) -> None:
        if self._observer is not None:
            self._observer.batch(rows)


def _concatenate(requests: list[Arrays]) -> Arrays:
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}


def _resolve(waiting: _Waiting, computed: Computed) -> None:
    if not waiting.future.done():
        waiting.future.set_result(computed)


def _reject(waiting: _Waiting, error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)


DIRECT_SECONDS = 200e-6
"""Longest inference that may hold up the event loop, seconds: a few times the way to a thread."""


def direct_rows_for(seconds_per_call: float, seconds_per_row: float) -> int:
    """How many rows a batch may have to be computed on the event loop.

    A model of 50 µs plus 10 µs a row: 1 + (200 - 50) / 10 = 16 rows.
    """
    if seconds_per_call > DIRECT_SECONDS:
        return 0
    return 1 + int((DIRECT_SECONDS - seconds_per_call) / max(seconds_per_row, 1e-6))
