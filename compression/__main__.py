"""`python -m compression`: make a model's compressed variants, judge them, look at them."""

from __future__ import annotations

import argparse
import inspect
import signal
import sys

from rich.text import Text

from compression.commands import COMMANDS
from compression.console import console
from compression.errors import CompressionError, StorageError
from compression.store.errors import StoreError

INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compression", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(
            commands.add_parser(name, help=command.help, description=inspect.getdoc(command))
        )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is the error's, see `compression.errors`."""
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except (CompressionError, StoreError) as error:
        return _told(error)
    except OSError as error:
        problem = StorageError.of(error)
        if problem is None:
            raise
        return _told(problem)
    except KeyboardInterrupt:
        console.print(
            "interrupted: what is finished is kept; run the same command again (--no-resume left "
            "out) to go on from the last step",
            soft_wrap=True,
        )
        return INTERRUPTED


def _told(error: CompressionError | StoreError) -> int:
    console.print(Text.assemble(("error: ", "red"), str(error)), soft_wrap=True)
    return error.exit_code


if __name__ == "__main__":
    # A job in a script's background ignores SIGINT otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
