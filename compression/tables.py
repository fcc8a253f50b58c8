"""Tables of text: cells made once, printed with rich and written as Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Cells:
    """A table of text, before it is known where it goes."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    whole_names: bool = True
    """The first column is not broken into lines in a terminal; it may be where it holds prose."""

    def markdown(self) -> str:
        """A pipe table; the first column names the row."""
        lines = [self.headings, ("---", *("---:" for _ in self.headings[1:])), *self.rows]
        return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)

    def print(self, console: Console) -> None:
        """To a terminal."""
        table = Table(title=self.title)
        for number, heading in enumerate(self.headings):
            whole = self.whole_names and not number
            table.add_column(heading, justify="right" if number else "left", no_wrap=whole)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
