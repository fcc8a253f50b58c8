"""`boosting`: gradient boosting as an ONNX file, to import."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar


class Boosting:
    """Train gradient boosting on a recipe's workload and write it as an ONNX file.

    All inputs of a row are flattened into one matrix. `import` makes a variant of the file.
    """

    name: ClassVar[str] = "boosting"
    help: ClassVar[str] = "train gradient boosting on a workload, to import it"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which workload, and where the file goes."""
        parser.add_argument("--recipe", type=Path, required=True, help="whose workload")
        parser.add_argument("--out", type=Path, required=True, help="e.g. out/boosted.onnx")
        parser.add_argument("--iterations", type=int, default=150, help="trees (default: 150)")

    def run(self, arguments: Namespace) -> int:
        """The recipe is checked before any data is made."""
        from compression.recipe import load_recipe

        recipe = load_recipe(arguments.recipe)

        from compression.boosting import fit_boosting, to_onnx
        from compression.console import bar, console
        from compression.files import write_whole
        from compression.graphs.foreign import width
        from compression.workloads import find_workload

        with bar("gradient boosting"):
            workload = find_workload(recipe.workload, str(arguments.recipe)).open()
            model = fit_boosting(workload, recipe.seed, arguments.iterations)
        content = to_onnx(model, width(workload.inputs))
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.out, content)
        console.print(f"wrote {arguments.out}, {len(content):,} bytes", soft_wrap=True)
        return 0
