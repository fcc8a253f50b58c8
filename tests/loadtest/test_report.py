"""The report of a simulated comparison: every item is there, and nothing comes from elsewhere."""

import json
import re
import shutil
from pathlib import Path

import pytest

from loadtest.comparison import rows
from loadtest.errors import OptionError
from loadtest.ledger import Ledger
from loadtest.pricing import choose_pricing, read_prices
from loadtest.report import Report, ReportOptions, make_report
from loadtest.store import Store
from tests.loadtest import made_up_store
from tests.loadtest.conftest import PRICES, empty_document, simulate


@pytest.fixture(scope="module")
def report(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("report") / "out"
    shutil.copytree(comparison, folder)
    return make_report(ReportOptions(out=folder, prices=PRICES))


@pytest.fixture
def page(report: Report) -> str:
    return report.html.read_text()


@pytest.fixture
def twin(report: Report) -> str:
    return report.markdown.read_text()


ITEMS = [
    "average precision", "95 % interval", "AUC", "distinct scores", "failed checks",
    "average_precision_kept is 0.9678", "parameters", "6.30 M", "25.4 MB", "R_slo", "per million",
    "CPU s per", "memory", "What got worse", "How each variant was made", "distill",
    "Does the original earn its cost?", "gradient-boosting", "the teacher helped.",
    "Energy", "not measurable here", "weeks 25 to 28", "quick profile", "load seed 0",
    "Training seeds", "Versions", "Server flags", "What limits these numbers", "general-purpose",
]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_is_in_the_page_and_its_twin(page: str, twin: str, item: str) -> None:
    def words(text: str) -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))

    assert item in words(page)
    assert item in words(twin)


def test_the_page_stands_alone(page: str) -> None:
    assert page.count("<svg") == 2
    for outside in ("http://", "https://", "<script", "<link", "@import", "url(http", "src="):
        assert outside not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_drawings_use_the_pages_colours_and_do_not_share_ids(page: str) -> None:
    assert "var(--c5)" in page
    assert not re.search(r"#0103\w\w", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert {i.split("-")[0] for i in ids} == {"load", "quality"}


def test_the_headline_names_the_best_variant_and_the_best_that_passed(report: Report) -> None:
    r_slo = {row.name: row.r_slo or 0.0 for row in report.rows}
    fastest = max(r_slo, key=lambda name: r_slo[name])
    assert fastest in report.headline
    assert "passed" in report.headline
    assert report.headline in report.html.read_text()


def test_results_have_exactly_the_agreed_form(report: Report) -> None:
    content = json.loads(report.results.read_text())
    assert isinstance(content["machine"], dict)
    assert [v["name"] for v in content["variants"]] == list(made_up_store.NAMES)
    agreed = {
        "name": str, "parameters": int, "bytes": int, "ap": float, "ap_low": float,
        "ap_high": float, "auc": float, "decision_agreement": float, "gate": str,
        "model_p50_seconds": float, "p50_seconds": float, "p99_seconds": float, "r_slo": float,
        "cpu_seconds_per_1000": float, "cost_per_million": float,
    }  # fmt: skip
    for variant in content["variants"]:
        for key, kind in agreed.items():
            assert isinstance(variant[key], kind), key
    assert {v["gate"] for v in content["variants"]} == {"reference", "passed", "failed"}


def test_ratios_have_intervals_from_five_rounds_on(store: Path, tmp_path: Path) -> None:
    document = empty_document(
        store, rounds=5, variants=("original", "pruned"), budget_seconds=300.0
    )
    finished, _ = simulate(document, tmp_path)
    pricing = choose_pricing(read_prices(PRICES))
    manifests = Store(str(store), "fraud").manifests()
    table = rows(finished, Ledger(tmp_path).load_histograms(), manifests, pricing)
    pruned = next(row for row in table if row.name == "pruned")
    ratio = pruned.ratios["r_slo"]
    assert ratio.low is not None
    assert ratio.high is not None
    assert 2.5 < ratio.low <= ratio.value <= ratio.high < 5.0


def test_ratios_are_those_of_the_figures_shown(report: Report) -> None:
    original = report.rows[0]
    for row in report.rows[1:]:
        assert row.p50_seconds is not None
        assert original.p50_seconds is not None
        assert row.ratios["p50"].value == pytest.approx(row.p50_seconds / original.p50_seconds)


def test_each_variant_is_paid_for_at_the_price_of_its_machine(
    comparison: Path, report: Report, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(comparison, folder)
    made = make_report(
        ReportOptions(out=folder, prices=PRICES, price=("original=one-gpu-16-core",))
    )
    dearer = 4.0 / 0.096
    for before, row in zip(report.rows, made.rows, strict=True):
        factor = dearer if row.name == "original" else 1.0
        assert before.cost_per_million is not None
        assert row.cost_per_million == pytest.approx(before.cost_per_million * factor)
    others = ", ".join(row.name for row in made.rows[1:])
    for text in (made.html.read_text(), made.markdown.read_text()):
        assert "4.0 USD an hour (one-gpu-16-core, 16 cores, 2026-11-28) for original; 0.096" in text
        assert f"2026-11-23) for {others}, used to 60 %" in text
    priced = {one["name"]: one["price"] for one in json.loads(made.results.read_text())["variants"]}
    assert priced.pop("original") == "one-gpu-16-core"
    assert set(priced.values()) == {"general-purpose-2-core"}


def test_remote_servers_leave_blanks_and_no_invented_numbers(
    comparison: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(comparison, folder)
    ledger = Ledger(folder)
    document = ledger.read()
    cells = tuple(
        cell.model_copy(
            update={
                "low": cell.low.model_copy(update={"use": None}),
                "busy": cell.busy.model_copy(update={"use": None}) if cell.busy else None,
            }
        )
        for cell in document.cells
    )
    ledger.load_histograms()
    ledger.save(document.model_copy(update={"cells": cells}))
    made = make_report(ReportOptions(out=folder, prices=PRICES))
    content = json.loads(made.results.read_text())
    assert all(v["cpu_seconds_per_1000"] is None for v in content["variants"])
    assert all(v["memory_bytes"] is None for v in content["variants"])


def test_a_report_without_a_comparison_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="run compare first"):
        make_report(ReportOptions(out=tmp_path, prices=PRICES))
