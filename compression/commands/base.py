"""What a command is: a name, arguments, and what it does with them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar, Protocol

STORE = "out/store"
WORK = Path("out/work")


class Command(Protocol):
    """One command of the command line. Its class docstring is the text of its --help."""

    name: ClassVar[str]
    help: ClassVar[str]
    """One line for the list of commands."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def run(self, arguments: Namespace) -> int:
        """Do it; gives the exit code. Errors of `compression.errors` carry their own."""
        ...


def add_store(parser: ArgumentParser) -> None:
    """`--store`, the same for every command."""
    parser.add_argument(
        "--store", default=STORE, metavar="URI", help="folder or URI (default: %(default)s)"
    )


def add_work(parser: ArgumentParser) -> None:
    """`--work`, where finished steps are cached."""
    parser.add_argument(
        "--work", type=Path, default=WORK, metavar="FOLDER",
        help="cache of finished steps: an interrupted run goes on there (default: %(default)s)",
    )  # fmt: skip
