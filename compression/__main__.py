"""`python -m compression`: run recipes, look into a store, train the original."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.text import Text

from compression.console import console
from compression.errors import CompressionError
from compression.store.errors import StoreError

INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compression", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make, judge and publish a recipe's variants")
    run.add_argument("recipe", type=Path, help="e.g. compression/recipes/fraud-demo.yaml")
    run.add_argument("--store", default="out/store", help="folder or URI (default: %(default)s)")
    run.add_argument(
        "--work", type=Path, default=Path("out/work"),
        help="cache of finished steps: an interrupted run goes on there (default: %(default)s)",
    )  # fmt: skip
    run.add_argument(
        "--replace", action="store_true", help="replace variants that are published already"
    )
    listing = commands.add_parser("list", help="list a store's variants")
    listing.add_argument("--store", default="out/store")
    listing.add_argument("--model", help="only this model")
    show = commands.add_parser("show", help="print a variant's manifest")
    show.add_argument("variant")
    show.add_argument("--store", default="out/store")
    show.add_argument("--model", default="fraud")
    original = commands.add_parser("original", help="train the fraud workload's original")
    original.add_argument("--recipe", type=Path, help="take the workload's settings from a recipe")
    original.add_argument("--out", type=Path, help="folder (default: where the recipe looks)")
    original.add_argument("--work", type=Path, default=Path("out/original"), help="checkpoints")
    original.add_argument("--epochs", type=int, help="passes over the frauds (default: 12)")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    # Parsed before torch is imported, so that a wrong argument is answered at once.
    from compression.listing import print_variants
    from compression.pipeline import run_recipe
    from compression.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    manifests = run_recipe(
        recipe, str(arguments.recipe), arguments.store, arguments.work, replace=arguments.replace
    )
    print_variants(recipe.model, manifests)


def _list(arguments: argparse.Namespace) -> None:
    from compression.listing import print_variants
    from compression.store import ModelStore

    store = ModelStore(arguments.store)
    for model in [arguments.model] if arguments.model else store.models():
        store.model(model)
        print_variants(model, [store.manifest(model, v) for v in store.variants(model)])


def _show(arguments: argparse.Namespace) -> None:
    from compression.store import ModelStore

    store = ModelStore(arguments.store)
    store.model(arguments.model)
    sys.stdout.write(store.manifest(arguments.model, arguments.variant).model_dump_json(indent=2))
    sys.stdout.write("\n")


def _original(arguments: argparse.Namespace) -> None:
    from compression.workloads.fraud.training import train_original_command

    train_original_command(arguments.recipe, arguments.out, arguments.work, arguments.epochs)


_COMMANDS = {"run": _run, "list": _list, "show": _show, "original": _original}


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is the error's, see `compression.errors`."""
    arguments = _parser().parse_args(argv)
    try:
        _COMMANDS[arguments.command](arguments)
    except (CompressionError, StoreError) as error:
        console.print(Text.assemble(("error: ", "red"), str(error)), soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted: run the same command again to go on from the last step")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
