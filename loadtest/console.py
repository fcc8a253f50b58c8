"""What the user sees while a comparison runs, and at its end."""

from __future__ import annotations

from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from loadtest.comparison import Row
from loadtest.format import NOT_MEASURED, count, percent, rate, seconds, size

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


def table(rows: tuple[Row, ...], width: int = 100) -> Table:
    """The comparison as a table for a terminal of this many columns."""
    shown = Table(title="Compressed variants, end to end", title_justify="left", box=SIMPLE_HEAD,
                  padding=(0, 1, 0, 0), pad_edge=False)  # fmt: skip
    shown.add_column("variant", no_wrap=True)
    wide = width >= 100
    headings = ["gate", "AP", "same\ndecision", "p50", "p99", "R_slo\nper s", "cost per\nmillion"]
    more = ["model\np50", "CPU s per\n1,000", "params", "files"]
    for heading in [*headings, *(more if wide else [])]:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [*_cells(row), *(_wide_cells(row) if wide else [])]
        shown.add_row(row.name, *cells)
    notes = []
    if any(row.limited_by == "generator" for row in rows):
        notes.append("* the load generator was the limit: the server can do more")
    if any(not row.p99_sufficient for row in rows):
        notes.append("~ fewer than 459 samples")
    shown.caption = "\n".join(notes) or None
    shown.caption_justify = "left"
    return shown


def _cells(row: Row) -> list[str]:
    style = {"reference": "bold", "passed": "green", "failed": "red"}[row.gate]
    return [
        f"[{style}]{row.gate}[/]",
        f"{row.ap:.3f}" if row.ap is not None else NOT_MEASURED,
        percent(row.decision_agreement),
        seconds(row.p50_seconds),
        seconds(row.p99_seconds) + ("" if row.p99_sufficient else "~"),
        _at_least(row) + rate(row.r_slo) + ("*" if row.limited_by == "generator" else ""),
        f"{row.cost_per_million:.3f}" if row.cost_per_million is not None else NOT_MEASURED,
    ]


def _at_least(row: Row) -> str:
    bound = row.r_slo is not None and row.limited_by in ("generator", "probes", "ceiling")
    return "≥ " if bound else ""


def _wide_cells(row: Row) -> list[str]:
    cpu = row.cpu_seconds_per_1000
    return [
        seconds(row.model_p50_seconds),
        f"{cpu:.2f}" if cpu is not None else NOT_MEASURED,
        count(row.parameters),
        size(row.bytes),
    ]
