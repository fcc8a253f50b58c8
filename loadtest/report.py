"""The report: one self-contained page, its Markdown twin and `results.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loadtest import figures, format, story
from loadtest.comparison import RESULTS_FILE, Row, results, rows, write_results
from loadtest.documents import Document
from loadtest.errors import OptionError
from loadtest.ledger import Ledger, LoadDocument, write_whole
from loadtest.plan import BUSY_SHARE, COMMON_SHARE
from loadtest.pricing import Pricing, choose_pricing, read_prices
from loadtest.store import Baselines, Manifest, Store

HTML_FILE, MARKDOWN_FILE = "report.html", "report.md"


class ReportOptions(Document):
    """Where the results lie, where the report goes, and what machines cost."""

    out: Path
    prices: Path
    price: tuple[str, ...] = ()
    """See `choose_pricing`."""
    store: str | None = None
    """In place of the store that was measured, where it has moved."""

    def check(self) -> Pricing:
        """The prices to use; raises OptionError now and not after minutes of measuring."""
        return choose_pricing(read_prices(self.prices), self.price)


@dataclass(frozen=True)
class Report:
    """What was written."""

    headline: str
    rows: tuple[Row, ...]
    html: Path
    markdown: Path
    results: Path


def make_report(options: ReportOptions) -> Report:
    """Write the page, its twin and `results.json` into `options.out`.

    Raises:
        LoadTestError: `load.json`, the store or the price file is missing or does not fit.
    """
    pricing = options.check()
    ledger = Ledger(options.out)
    document = ledger.read()
    store = Store(options.store or document.settings.store, document.settings.model)
    manifests = store.manifests()
    missing = [name for name in document.settings.variants if name not in manifests]
    if missing:
        raise OptionError(f"the store no longer has {', '.join(missing)}: compare again")
    pricing.check_variants(manifests)
    table = rows(document, ledger.load_histograms(), manifests, pricing)
    if not table:
        raise OptionError(f"{ledger.path} holds no measurement yet: let compare go on")
    context = _context(document, table, manifests, store.baselines(), pricing)
    made = Report(
        headline=context["headline"],
        rows=table,
        html=options.out / HTML_FILE,
        markdown=options.out / MARKDOWN_FILE,
        results=options.out / RESULTS_FILE,
    )
    write_whole(made.html, _render("report.html.j2", context, escape=True))
    write_whole(made.markdown, _render("report.md.j2", context, escape=False))
    write_results(made.results, results(document, table))
    return made


def _context(
    document: LoadDocument,
    table: tuple[Row, ...],
    manifests: dict[str, Manifest],
    baselines: Baselines | None,
    pricing: Pricing,
) -> dict[str, Any]:
    slo = document.settings.limits.slo_seconds
    measured = {row.name: manifests[row.name] for row in table}
    original = next((row for row in table if row.gate == "reference"), None)
    best = story.best(table, passed_only=True) or story.best(table)
    return {
        "headline": story.headline(table, slo),
        "document": document,
        "settings": document.settings,
        "environment": document.environment,
        "rows": table,
        "original": original,
        "best": best,
        "arrives": story.arrives(best, original) if best and original else "",
        "fastest_r_slo": max((row.r_slo or 0.0 for row in table), default=0.0),
        "manifests": measured,
        "baselines": baselines,
        "losses": story.losses(table, measured),
        "noise": story.noise_notes(document, table),
        "currency": pricing.currency,
        "prices": pricing.used([row.name for row in table]),
        "utilisation": pricing.utilisation,
        "common_share": COMMON_SHARE,
        "busy_share": BUSY_SHARE,
        "load_figure": Markup(figures.load_figure(document, table)),
        "quality_figure": Markup(figures.quality_figure(table)),
        "tests": sorted({manifest.quality.test for manifest in measured.values()}),
        "seeds": sorted({manifest.lineage.seed for manifest in measured.values()}),
        "complete": document.finished_at is not None,
    }


def _render(template: str, context: dict[str, Any], *, escape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("loadtest"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("seconds", "count", "size", "rate", "percent", "times", "exact"):
        environment.filters[name] = getattr(format, name)
    return environment.get_template(template).render(context)
