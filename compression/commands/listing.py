"""`list`: the variants of a store."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import ClassVar

from compression.commands.base import add_store


class List:
    """Print every variant of a store: size, quality, gate, model-only latency."""

    name: ClassVar[str] = "list"
    help: ClassVar[str] = "list a store's variants"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A store, and which of its models."""
        add_store(parser)
        parser.add_argument("--model", help="only this model")

    def run(self, arguments: Namespace) -> int:
        """A table for each model."""
        from compression.listing import print_variants
        from compression.store import ModelStore

        store = ModelStore(arguments.store)
        for model in [arguments.model] if arguments.model else store.models():
            store.model(model)
            print_variants(model, [store.manifest(model, v) for v in store.variants(model)])
        return 0
