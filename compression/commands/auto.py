"""`auto`: search for the variant that meets given targets."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_work

GIVEN = ("max_ap_loss", "p99_ms", "max_bytes", "budget_minutes")


class Auto:
    """Search a recipe's techniques for the variant that meets given targets.

    Every chain of the recipe's `auto.space` is trained briefly, the better half of them longer.
    They are judged on validation rows and measured in turns on one thread. The front of quality
    against latency against size is published and judged on the test rows once; recipe.yaml makes
    it again. Finished steps are kept: interrupted, the same command goes on. Where no variant
    meets the targets the nearest is named and the exit code is 14.
    """

    name: ClassVar[str] = "auto"
    help: ClassVar[str] = "search for the variant that meets given targets"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Targets, a budget, and where to."""
        parser.add_argument("recipe", type=Path, help="e.g. compression/recipes/fraud-demo.yaml")
        targets = parser.add_argument_group(
            "targets", "what the recipe's `auto.targets` say if not"
        )
        targets.add_argument(
            "--max-ap-loss", type=float, metavar="SHARE",
            help="share of the original's average precision that may go, e.g. 0.01",
        )  # fmt: skip
        targets.add_argument(
            "--p99-ms", type=float, metavar="MS", help="p99 of the model alone at 1 row, e.g. 1.0"
        )
        targets.add_argument(
            "--max-bytes", type=int, metavar="BYTES", help="of the served file, e.g. 500000"
        )
        parser.add_argument(
            "--budget-minutes", type=float, metavar="N",
            help="train nothing after that and compare what is finished (default: no bound)",
        )  # fmt: skip
        parser.add_argument(
            "--store", default="out/auto/store", metavar="URI",
            help="folder or URI; variants of the front's names are replaced (default: %(default)s)",
        )  # fmt: skip
        add_work(parser)
        parser.add_argument(
            "--out", type=Path, default=Path("out/auto"), metavar="FOLDER",
            help="where recipe, results and plot go (default: %(default)s)",
        )  # fmt: skip

    def run(self, arguments: Namespace) -> int:
        """The recipe is checked first."""
        from compression.recipe import load_recipe

        recipe = load_recipe(arguments.recipe)

        from compression.search.auto import print_search, run_auto, with_targets

        recipe = with_targets(recipe, {name: getattr(arguments, name) for name in GIVEN})
        results = run_auto(
            recipe, str(arguments.recipe), arguments.store, arguments.work, arguments.out
        )
        print_search(results, arguments.out)
        return 0
