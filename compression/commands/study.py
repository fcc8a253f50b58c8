"""`study`: train one student in several ways over several seeds, and compare."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_work


class StudyCommand:
    """Train one student in several ways, each over several seeds, and compare on validation rows.

    Finished trainings are kept: an interrupted study goes on where it stopped.
    """

    name: ClassVar[str] = "study"
    help: ClassVar[str] = "compare ways to train a student over several seeds"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The study and where to."""
        parser.add_argument(
            "study", type=Path, help="e.g. compression/study/fraud-distillation.yaml"
        )
        add_work(parser)
        parser.add_argument(
            "--out", type=Path, default=Path("out/study"), metavar="FOLDER",
            help="where results.json and study.md go (default: %(default)s)",
        )  # fmt: skip

    def run(self, arguments: Namespace) -> int:
        """Minutes for each arm and seed."""
        from rich.console import Console

        from compression.study.config import load_study
        from compression.study.results import results_table
        from compression.study.run import run_study

        study = load_study(arguments.study)
        results = run_study(study, str(arguments.study), arguments.work, arguments.out)
        results_table(results).print(Console())
        return 0
