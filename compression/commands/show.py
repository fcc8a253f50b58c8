"""`show`: one variant's manifest."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import ClassVar

from compression.commands.base import add_store


class Show:
    """Print a variant's manifest as JSON, to stdout: how it was made, judged and measured."""

    name: ClassVar[str] = "show"
    help: ClassVar[str] = "print a variant's manifest"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A variant, its model, its store."""
        parser.add_argument("variant", help="its name, as `list` prints it")
        add_store(parser)
        parser.add_argument("--model", default="fraud", help="default: %(default)s")

    def run(self, arguments: Namespace) -> int:
        """The manifest alone, so that it can be piped."""
        from compression.store import ModelStore

        store = ModelStore(arguments.store)
        store.model(arguments.model)
        manifest = store.manifest(arguments.model, arguments.variant)
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
        return 0
