"""`import`: an ONNX file from elsewhere becomes a variant."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store, add_work


class Import:
    """Judge an ONNX file as a variant of a recipe's model and publish it beside the original.

    The file takes the workload's inputs by name, or one matrix of all of them flattened, and
    gives a score, or probabilities of two classes. It gets everything that a variant has: quality
    with intervals, a verdict of the gate, latency, probe scores, its place in the model card.
    """

    name: ClassVar[str] = "import"
    help: ClassVar[str] = "judge an ONNX file from elsewhere and publish it as a variant"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, whose variant it is, and what it is called."""
        parser.add_argument("file", type=Path, help="e.g. boosted.onnx")
        parser.add_argument("--recipe", type=Path, required=True, help="whose model and gate")
        parser.add_argument("--name", required=True, help="of the variant")
        add_store(parser)
        add_work(parser)
        parser.add_argument("--replace", action="store_true", help="replace a variant of that name")

    def run(self, arguments: Namespace) -> int:
        """The recipe is checked before torch is imported and anything is written."""
        from compression.recipe import load_recipe

        recipe = load_recipe(arguments.recipe)

        from compression.listing import print_variants
        from compression.pipeline import import_variant

        manifest = import_variant(
            recipe,
            str(arguments.recipe),
            arguments.file,
            arguments.name,
            arguments.store,
            arguments.work,
            replace=arguments.replace,
        )
        print_variants(recipe.model, [manifest])
        return 0
