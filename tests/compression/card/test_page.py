"""The model card: whole, self-contained, and the same each time it is drawn."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compression.__main__ import main
from compression.card.page import Card, draw_card
from compression.store import ModelStore, StoreUnavailableError

NO_STORE = 7
VOID = {"meta", "br", "img", "link", "use", "path"}


@pytest.fixture(scope="module")
def card(judged_store: ModelStore) -> Card:
    return draw_card(judged_store, "fraud")


class _Balanced(HTMLParser):
    """Every element that is opened is closed, in order; ids are unique."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_html(card: Card) -> None:
    parser = _Balanced()
    parser.feed(card.html)
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)


def test_the_page_needs_no_other_file(card: Card) -> None:
    assert not re.search(r"(src|href)=\"(?!#)", card.html)
    assert "url(http" not in card.html
    assert "<script" not in card.html
    assert card.html.count("<svg") == 1 + 2 * 4, "one figure of the original, four of each variant"


def test_figures_take_the_page_s_colours(card: Card) -> None:
    assert "#0102" not in card.html
    assert "var(--accent)" in card.html


def test_drawing_it_again_gives_the_same(card: Card, judged_store: ModelStore) -> None:
    assert draw_card(judged_store, "fraud") == card


def test_both_forms_say_what_there_is_to_say(card: Card, judged_store: ModelStore) -> None:
    for page in (card.html, card.markdown):
        assert "variants passed the quality gate; failed:" in page
        assert "What got worse" in page
        assert "McNemar" in page
        for name in judged_store.variants("fraud"):
            manifest = judged_store.manifest("fraud", name)
            assert manifest.files[0].sha256 in page
            assert f"{manifest.quality.metrics['average_precision'].value:.4f}" in page
        assert "channel: shop" in page
        assert "drawn rows" in page


def test_names_from_data_are_no_markup(card: Card) -> None:
    assert "amount: &lt;mid&gt;" in card.html
    assert "<mid>" not in card.html


def test_markdown_has_the_figures_numbers(card: Card, judged_store: ModelStore) -> None:
    evidence = judged_store.evidence("fraud")
    assert evidence is not None
    for point in evidence.variants["poor"].reliability:
        assert f"| {point.rows:,} | {point.predicted:.4f} | {point.observed:.4f}" in card.markdown
    for line in card.markdown.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    assert "{{" not in card.markdown


def test_a_store_without_evidence_still_has_a_card(bare_store: ModelStore) -> None:
    card = draw_card(bare_store, "fraud")
    assert "<svg" not in card.html
    assert "holds no <code>evidence.json</code>" in card.html
    assert "close" in card.markdown


def test_the_command_writes_beside_the_model_or_elsewhere(
    judged_store: ModelStore,
    bare_store: ModelStore,
    card: Card,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["card", "--store", judged_store.uri]) == 0
    beside = Path(judged_store.uri) / "fraud"
    assert (beside / "card.html").read_text() == card.html
    assert (beside / "card.md").read_text() == card.markdown
    assert judged_store.models() == ("fraud",), "a card is no model and no variant"
    assert main(["card", "--store", bare_store.uri, "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "card.html").read_text().startswith("<!doctype html>")
    assert not (Path(bare_store.uri) / "fraud" / "card.html").exists()
    assert "wrote card.html and card.md to" in capsys.readouterr().err


def test_a_model_that_is_not_there_has_no_card(judged_store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no model 'loans'"):
        draw_card(judged_store, "loans")
    assert main(["card", "--store", str(tmp_path / "nowhere")]) == NO_STORE
