"""Export variants of a store, run all its samples in Node, and compare with the server.

    python -m tests.support.edge_check --store out/demo/store --out out/demo/edge distilled

`alerts` counts rows that the server alerts on, `same` the share of rows decided alike.
Ends with 1 where a float variant's scores are more than 0.0001 apart, or an int8 variant decides
otherwise on more than one row in a thousand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compression.edge.budget import Budget
from compression.edge.document import EdgeDocument
from compression.edge.export import ExportOptions, export_variant
from compression.edge.formats import FORMATS
from compression.store import ModelStore
from tests.support.web import Comparison, WebRuntime, compare

MAX_DIFFERENCE = 1e-4
MIN_EQUAL_DECISIONS = 0.999
HEADINGS = ("format", "kB", "memory kB", "rows", "alerts", "max diff", "same")


def holds(edge: EdgeDocument, found: Comparison) -> bool:
    """Whether the exported model does what the published one does."""
    if edge.precision == "fp32":
        return found.max_difference <= MAX_DIFFERENCE
    return found.equal_decisions >= MIN_EQUAL_DECISIONS


def _row(edge: EdgeDocument, found: Comparison) -> tuple[str, ...]:
    return (
        edge.variant,
        edge.format,
        f"{edge.file.bytes / 1e3:,.0f}",
        f"{edge.memory.peak_bytes / 1e3:,.0f}",
        f"{found.rows:,}",
        f"{found.alerts:,}",
        f"{found.max_difference:.1e}",
        f"{100 * found.equal_decisions:.2f} %",
    )


def main() -> int:
    """Print a line for each variant and format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--store", required=True)
    parser.add_argument("--model", default="fraud")
    parser.add_argument("--out", type=Path, required=True, help="folder for the exports")
    arguments = parser.parse_args()
    web, store = WebRuntime.install(), ModelStore(arguments.store)
    rows = len(store.samples(arguments.model))
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        title=f"{arguments.model} in onnxruntime-web (WebAssembly, one thread)",
    )
    for heading in ("variant", *HEADINGS):
        table.add_column(heading, justify="left" if heading == "variant" else "right", no_wrap=True)
    exported, folders = [], []
    for variant in arguments.variants:
        for kind in FORMATS:
            options = ExportOptions(kind, Budget(), rows, allow_failed_gate=True, replace=True)
            folders.append(arguments.out / f"{variant}-{kind}")
            exported.append(export_variant(store, arguments.model, variant, folders[-1], options))
    compared = compare(web, folders, arguments.store)
    for edge, found in zip(exported, compared, strict=True):
        table.add_row(*_row(edge, found))
    Console().print(table)
    return 0 if all(map(holds, exported, compared)) else 1


if __name__ == "__main__":
    sys.exit(main())
