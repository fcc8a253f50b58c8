"""`original`: train a workload's original."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar


class Original:
    """Train a workload's original model; goes on from the last epoch when interrupted."""

    name: ClassVar[str] = "original"
    help: ClassVar[str] = "train a workload's original"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A recipe for the data, and where to."""
        parser.add_argument("--recipe", type=Path, help="whose workload (default: fraud)")
        parser.add_argument("--out", type=Path, help="folder (default: where the recipe looks)")
        parser.add_argument("--work", type=Path, default=Path("out/original"), help="checkpoints")
        parser.add_argument("--epochs", type=int, help="default: as the workload says")

    def run(self, arguments: Namespace) -> int:
        """An hour or two on two cores."""
        from compression.workloads.training import train_original_command

        train_original_command(arguments.recipe, arguments.out, arguments.work, arguments.epochs)
        return 0
