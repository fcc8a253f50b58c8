"""`card`: draw a model's card again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar

from compression.commands.base import add_store


class Card:
    """Draw a model's card from what is published, as HTML and as Markdown.

    `run` puts one beside the model's variants; this draws it again, there or elsewhere.
    """

    name: ClassVar[str] = "card"
    help: ClassVar[str] = "draw a model's card: one page for a model-risk file"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which model, and where the pages go."""
        add_store(parser)
        parser.add_argument("--model", default="fraud")
        parser.add_argument("--out", type=Path, help="folder (default: the model's in the store)")

    def run(self, arguments: Namespace) -> int:
        """Write card.html and card.md."""
        from compression.card.page import draw_card
        from compression.console import console
        from compression.files import write_whole
        from compression.store import ModelStore, Publisher
        from compression.store.layout import CARD_HTML, CARD_MARKDOWN

        card = draw_card(ModelStore(arguments.store), arguments.model)
        if arguments.out is None:
            Publisher(arguments.store).publish_card(arguments.model, card.html, card.markdown)
            where = f"{arguments.store}/{arguments.model}"
        else:
            arguments.out.mkdir(parents=True, exist_ok=True)
            write_whole(arguments.out / CARD_HTML, card.html.encode())
            write_whole(arguments.out / CARD_MARKDOWN, card.markdown.encode())
            where = str(arguments.out)
        console.print(f"wrote {CARD_HTML} and {CARD_MARKDOWN} to {where}", soft_wrap=True)
        return 0
