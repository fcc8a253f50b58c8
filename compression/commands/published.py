"""`published`: the fraud workload's baselines beside the published figures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar


class Published:
    """Train the published design's baselines by its own protocol, and compare.

    Says whether simulator, inputs, metrics and training are what they should be.
    """

    name: ClassVar[str] = "published"
    help: ClassVar[str] = "the fraud workload's baselines beside the published figures"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Seed and where to."""
        parser.add_argument("--seed", type=int, default=0, help="of data and training (default: 0)")
        parser.add_argument(
            "--out", type=Path, default=Path("out/bench-published"), metavar="FOLDER",
            help="where results.json and published.md go (default: %(default)s)",
        )  # fmt: skip

    def run(self, arguments: Namespace) -> int:
        """Some minutes for each fold."""
        from rich.console import Console

        from compression.published.comparison import results_table, run_published
        from compression.workloads.fraud.simulator import SimulatorConfig

        simulator = SimulatorConfig(seed=arguments.seed, scenarios="published")
        results = run_published(arguments.seed, simulator, arguments.out)
        results_table(results).print(Console())
        return 0
