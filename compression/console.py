"""What a person sees while long work runs: a bar with time left per stage, on stderr.

Where stderr is no terminal (a log, CI) each stage prints a line at every quarter instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# What is printed holds paths and messages of others: brackets in them are no markup.
console = Console(stderr=True, markup=False, emoji=False, highlight=False)

Advance = Callable[[int, int], None]
"""Called with (done, all)."""


class Stages:
    """Progress of several stages at once; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<32}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Stages:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """A stage; yields the function that moves its bar."""
        if not console.is_terminal:
            with self._lines(title) as advance:
                yield advance
            return
        task = self._progress.add_task(title, total=None)

        def advance_bar(done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total)

        yield advance_bar
        self._progress.update(task, completed=1, total=1)

    @contextmanager
    def _lines(self, title: str) -> Iterator[Advance]:
        started, printed = time.perf_counter(), [0]
        console.print(f"{title} …")

        def advance(done: int, total: int) -> None:
            quarter = 4 * done // max(1, total)
            if printed[0] < quarter < 4:
                printed[0] = quarter
                spent = time.perf_counter() - started
                left = spent * (total - done) / max(1, done)
                console.print(f"{title}: {25 * quarter} %, {left:.0f} s left")

        yield advance
        console.print(f"{title}: done in {time.perf_counter() - started:.1f} s")


@contextmanager
def bar(title: str) -> Iterator[Advance]:
    """One stage on its own."""
    with Stages() as stages, stages.stage(title) as advance:
        yield advance
