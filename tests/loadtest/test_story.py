from pathlib import Path

import pytest

from loadtest import story
from loadtest.comparison import Row, rows
from loadtest.ledger import Ledger
from loadtest.pricing import choose_pricing, read_prices
from loadtest.statistics import Ratio
from loadtest.store import Store
from tests.loadtest.conftest import PRICES


@pytest.fixture
def table(comparison: Path, store: Path) -> tuple[Row, ...]:
    ledger = Ledger(comparison)
    pricing = choose_pricing(read_prices(PRICES))
    manifests = Store(str(store), "fraud").manifests()
    return rows(ledger.read(), ledger.load_histograms(), manifests, pricing)


def _with(table: tuple[Row, ...], **changes: dict[str, object]) -> tuple[Row, ...]:
    return tuple(
        row.model_copy(update=changes.get(row.name.replace("-", "_"), {})) for row in table
    )


def test_a_fast_variant_that_failed_is_not_sold_as_the_gain(table: tuple[Row, ...]) -> None:
    changed = _with(
        table,
        original={"r_slo": 100.0, "limited_by": "slo"},
        distilled={"r_slo": 1800.0, "limited_by": "slo"},
        distilled_int8={"r_slo": 2000.0, "limited_by": "slo"},
    )
    text = story.headline(changed, 0.05)
    # The others keep their simulated limits, which are below 1,800.
    assert "original serves 100 predictions a second and distilled-int8 2,000 (20.0×)" in text
    assert (
        "but it failed the quality gate. The best variant that passed is distilled: 1,800" in text
    )


def test_a_generator_limit_makes_the_gain_a_lower_bound(table: tuple[Row, ...]) -> None:
    only = tuple(row for row in table if row.name in ("original", "distilled"))
    changed = _with(
        only,
        original={"r_slo": 100.0, "limited_by": "slo"},
        distilled={"r_slo": 900.0, "limited_by": "generator"},
    )
    assert "(at least 9.00×), and it passed" in story.headline(changed, 0.05)


def test_without_a_passing_variant_the_headline_says_so(table: tuple[Row, ...]) -> None:
    only = tuple(row for row in table if row.name in ("original", "distilled-int8"))
    assert "no compressed variant passed it" in story.headline(only, 0.05)
    assert "No variant beside the original" in story.headline(only[:1], 0.05)


def test_losses_are_computed(table: tuple[Row, ...], store: Path) -> None:
    found = {
        loss.name: " ".join(loss.sentences)
        for loss in story.losses(table, Store(str(store), "fraud").manifests())
    }
    assert "original" not in found
    assert found["original-onnx"] == ""
    text = found["distilled-int8"]
    assert "gate failed: average_precision_kept is 0.9678, at least 0.98 was needed" in text
    assert "AP fell from 0.8412 to 0.8141 (-3.2 %; ratio 0.962–0.974" in text
    assert "0.48 % of decisions differ from the original's, 1 in 208" in text
    assert "Distinct scores fell from 41,230 to 2,310" in text
    assert "Calibration error rose" in text


def test_slower_is_said_only_beyond_the_noise(table: tuple[Row, ...], store: Path) -> None:
    manifests = Store(str(store), "fraud").manifests()

    def sentences(ratio: Ratio) -> str:
        changed = _with(table, pruned={"ratios": {"p50": ratio}})
        return " ".join(next(loss for loss in story.losses(changed, manifests)
                             if loss.name == "pruned").sentences)  # fmt: skip

    assert "p50" not in sentences(Ratio(value=1.04))
    assert "End-to-end p50" in sentences(Ratio(value=1.2))
    assert "p50" not in sentences(Ratio(value=1.2, low=0.9, high=1.5))
    assert "End-to-end p50" in sentences(Ratio(value=1.04, low=1.01, high=1.07))


def test_what_arrives_of_the_models_own_gain(table: tuple[Row, ...]) -> None:
    original, distilled = table[0], next(row for row in table if row.name == "distilled")
    text = story.arrives(distilled, original)
    assert "Alone, the model of distilled is 98.1× as fast as the original's" in text
    assert "in throughput and" in text
    assert story.arrives(distilled.model_copy(update={"model_to_original": None}), original) == ""
