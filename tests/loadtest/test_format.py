import pytest

from loadtest import format


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.6e-5, "46.0 µs"), (0.00085, "850 µs"), (0.0042, "4.20 ms"), (1.25, "1.25 s"), (None, "–")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert format.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "50 ms"), (0.0025, "2.5 ms"), (1, "1 s"), (2e-5, "20 µs")]
)
def test_exact(value: float, text: str) -> None:
    assert format.exact(value) == text


def test_shares_never_round_up_to_everything() -> None:
    assert format.percent(1.0) == "100 %"
    assert format.percent(0.99999) != "100 %"
    assert format.percent(0.99521) == "99.52 %"


def test_counts_sizes_rates_and_ratios() -> None:
    assert (format.count(812), format.count(61_000), format.count(6_300_000)) == (
        "812",
        "61.0 k",
        "6.30 M",
    )
    assert (format.size(512), format.size(98_000)) == ("512 B", "98.0 kB")
    assert (format.rate(4751.2), format.rate(12.34)) == ("4,751", "12.3")
    assert format.times(36.9) == "36.9×"
