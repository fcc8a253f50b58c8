"""`run`: a recipe from data to store."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store, add_work


class Run:
    """Make, judge and publish every variant of a recipe, then print the table of them.

    Every finished step is kept: interrupted, or out of disk, the same command goes on from there.
    A variant is published whole or not at all.
    """

    name: ClassVar[str] = "run"
    help: ClassVar[str] = "make, judge and publish a recipe's variants"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A recipe, a store, a folder for the cache."""
        parser.add_argument("recipe", type=Path, help="e.g. compression/recipes/fraud-demo.yaml")
        add_store(parser)
        add_work(parser)
        parser.add_argument(
            "--replace", action="store_true", help="replace variants that are published already"
        )
        parser.add_argument(
            "--resume", action=BooleanOptionalAction, default=True,
            help="take finished steps and scores from the cache (default); --no-resume computes "
            "and publishes all of the recipe anew",
        )  # fmt: skip

    def run(self, arguments: Namespace) -> int:
        """The recipe is checked before torch is imported and anything is written."""
        from compression.recipe import load_recipe

        recipe = load_recipe(arguments.recipe)

        from compression.listing import print_variants
        from compression.pipeline import run_recipe

        manifests = run_recipe(
            recipe,
            str(arguments.recipe),
            arguments.store,
            arguments.work,
            replace=arguments.replace,
            resume=arguments.resume,
        )
        print_variants(recipe.model, manifests)
        return 0
