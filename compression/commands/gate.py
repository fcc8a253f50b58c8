"""`gate`: judge again what is published."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store


def _bound(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not NAME=NUMBER, e.g. auc_ratio=0.999") from error


class Gate:
    """Hold published variants against a gate, check by check, from their stored quality.

    Nothing is scored and nothing is written. The gate is the recipe's, or a preset, with single
    bounds changed. Exit code 11 where a variant that was judged fails.
    """

    name: ClassVar[str] = "gate"
    help: ClassVar[str] = "judge what is published again, by other bounds; for CI"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose gate, which variants, which bounds."""
        parser.add_argument("--recipe", type=Path, required=True, help="whose model and gate")
        add_store(parser)
        parser.add_argument("--variant", action="append", help="only this one; may be repeated")
        parser.add_argument("--preset", help="in place of the recipe's gate, e.g. mlperf-99.9")
        parser.add_argument(
            "--bound", action="append", type=_bound, default=[], metavar="NAME=NUMBER",
            help="change one bound, e.g. auc_ratio=0.999; may be repeated",
        )  # fmt: skip

    def run(self, arguments: Namespace) -> int:
        """A table for each variant but the reference; an error names those that failed."""
        from compression.errors import GateFailedError
        from compression.listing import print_checks
        from compression.quality.gate import config_of, judge
        from compression.recipe import load_recipe
        from compression.store import ModelStore

        recipe = load_recipe(arguments.recipe)
        config = config_of(arguments.preset, dict(arguments.bound), recipe.gate_config)
        store = ModelStore(arguments.store)
        store.model(recipe.model)
        names = arguments.variant or store.variants(recipe.model)
        manifests = [store.manifest(recipe.model, name) for name in names]
        judged = {
            manifest.name: judge(manifest.quality, config)
            for manifest in manifests
            if manifest.gate.verdict != "reference"
        }
        if not judged:
            raise GateFailedError(f"nothing to judge in {arguments.store}: only the original")
        for manifest in manifests:
            if manifest.name in judged:
                print_checks(manifest, judged[manifest.name])
        failed = sorted(name for name, gate in judged.items() if gate.verdict == "failed")
        if failed:
            raise GateFailedError(
                f"{len(failed)} of {len(judged)} variants fail the gate: {', '.join(failed)}"
            )
        return 0
