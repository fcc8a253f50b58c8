"""`export`: a variant for phones and browsers."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store


class Export:
    """Write a variant as a folder for phones and browsers, within a budget of bytes and memory.

    The folder holds the model, edge.json with everything an app must know of it, held-out requests
    with the server's answers, and a README with the JavaScript. The graph is checked against what
    onnxruntime-web runs. Over budget, or where a check fails, nothing is written.
    """

    name: ClassVar[str] = "export"
    help: ClassVar[str] = "write a variant for phones and browsers"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A variant, where to, how large it may be."""
        parser.add_argument("variant", help="an ONNX variant's name, as `list` prints it")
        add_store(parser)
        parser.add_argument("--model", default="fraud", help="default: %(default)s")
        parser.add_argument(
            "--out", type=Path, required=True, metavar="FOLDER", help="folder to write"
        )
        parser.add_argument(
            "--format", choices=("onnx", "ort"), default="onnx",
            help="plain ONNX, or ONNX Runtime's own format (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--max-bytes", type=int, metavar="N", help="refuse a model file that is larger"
        )
        parser.add_argument(
            "--max-memory-bytes", type=int, metavar="N",
            help="refuse a model that needs more memory, one row at a time",
        )  # fmt: skip
        parser.add_argument(
            "--samples", type=int, default=32, metavar="N",
            help="held-out requests to write along (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--allow-failed-gate", action="store_true",
            help="export although the quality gate failed; edge.json tells",
        )  # fmt: skip
        parser.add_argument(
            "--replace", action="store_true", help="replace a folder that was exported before"
        )

    def run(self, arguments: Namespace) -> int:
        """One line about what was written."""
        from compression.edge.budget import Budget
        from compression.edge.export import ExportOptions, export_variant
        from compression.edge.instructions import summary
        from compression.store import ModelStore

        options = ExportOptions(
            format=arguments.format,
            budget=Budget(arguments.max_bytes, arguments.max_memory_bytes),
            samples=arguments.samples,
            allow_failed_gate=arguments.allow_failed_gate,
            replace=arguments.replace,
        )
        store = ModelStore(arguments.store)
        edge = export_variant(store, arguments.model, arguments.variant, arguments.out, options)
        sys.stdout.write(summary(edge, arguments.out))
        return 0
