"""`bench`: what a recipe's variants save, measured in turns."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store, add_work


class Bench:
    """Run a recipe, then measure every published variant in turns and write results.json.

    The recipe's finished steps and published variants are kept: interrupted, the same command
    goes on. Latency is measured on one thread, all variants in every round, and compared with
    the recipe's reference round by round. Targets are judged, met or missed; the exit code is 0
    either way.
    """

    name: ClassVar[str] = "bench"
    help: ClassVar[str] = "run a recipe and measure what its variants save"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """As `run`, and where the results go."""
        parser.add_argument("recipe", type=Path, help="e.g. compression/recipes/fraud-bench.yaml")
        add_store(parser)
        add_work(parser)
        parser.add_argument(
            "--out", type=Path, default=Path("out/bench-compression"), metavar="FOLDER",
            help="where results.json and results.md go (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--replace", action="store_true", help="replace variants that are published already"
        )

    def run(self, arguments: Namespace) -> int:
        """The recipe is checked first."""
        from compression.recipe import load_recipe

        recipe = load_recipe(arguments.recipe)

        from compression.bench.benchmark import print_results, run_bench

        results = run_bench(
            recipe,
            str(arguments.recipe),
            arguments.store,
            arguments.work,
            arguments.out,
            replace=arguments.replace,
        )
        print_results(results)
        return 0
