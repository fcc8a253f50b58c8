"""What the user sees while a comparison runs, and at its end."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from loadtest.comparison import Row
from loadtest.format import count, percent, rate, seconds

OUT = Console()
ERRORS = Console(stderr=True)


class ProgressBar:
    """A bar with the time left; one line per step where the output is not a terminal."""

    def __init__(self, console: Console = OUT) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def update(self, doing: str, done_seconds: float, left_seconds: float) -> None:
        """Show what is done now and how long all of it will still take."""
        left = f"{left_seconds:.0f} s left"
        if not self._console.is_terminal:
            self._console.print(f"  {done_seconds:4.0f} s  {doing} ({left})", highlight=False)
            return
        total = max(1.0, done_seconds + left_seconds)
        if self._task is None:
            self._task = self._bar.add_task(doing, total=total, left=left)
        self._bar.update(
            self._task, description=doing, total=total, completed=done_seconds, left=left
        )

    def __enter__(self) -> ProgressBar:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()


def table(rows: tuple[Row, ...]) -> Table:
    """The comparison as a table for the terminal."""
    shown = Table(title="Compressed variants, end to end", title_justify="left")
    shown.add_column("variant", no_wrap=True)
    for heading in ("gate", "params", "AP", "same\ndecision", "model\np50", "p50", "p99", "R_slo",
                    "CPU s /\n1,000", "cost /\nmillion"):  # fmt: skip
        shown.add_column(heading, justify="right", no_wrap=True)
    styles = {"reference": "bold", "passed": "green", "failed": "red"}
    for row in rows:
        mark = "*" if row.limited_by == "generator" else ""
        shown.add_row(
            row.name,
            f"[{styles[row.gate]}]{row.gate}[/]",
            count(row.parameters),
            f"{row.ap:.3f}" if row.ap is not None else "–",
            percent(row.decision_agreement),
            seconds(row.model_p50_seconds),
            seconds(row.p50_seconds),
            seconds(row.p99_seconds) + ("" if row.p99_sufficient else "~"),
            rate(row.r_slo) + mark,
            f"{row.cpu_seconds_per_1000:.2f}" if row.cpu_seconds_per_1000 is not None else "–",
            f"{row.cost_per_million:.3f}" if row.cost_per_million is not None else "–",
        )
    notes = []
    if any(row.limited_by == "generator" for row in rows):
        notes.append("* the load generator was the limit: the server can do more")
    if any(not row.p99_sufficient for row in rows):
        notes.append("~ fewer than 459 samples")
    shown.caption = "\n".join(notes) or None
    return shown
