from __future__ import annotations

import pytest

from compression.listing import print_variants
from compression.store import ChainStep, Estimate, Manifest
from tests.support.store import make_manifest


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as wide as they want to be."""
    monkeypatch.setenv("COLUMNS", "200")


def _manifest(name: str, **quality: object) -> Manifest:
    manifest = make_manifest(name, b"x" * 2500, [0.5])
    return manifest.model_copy(update={"quality": manifest.quality.model_copy(update=quality)})


def test_a_row_has_size_quality_gate_latency_and_chain(capsys: pytest.CaptureFixture[str]) -> None:
    small = _manifest(
        "small",
        ratios_to_original={"average_precision": Estimate(value=0.995, low=0.981, high=1.004)},
        decision_agreement=0.9987,
    )
    chain = (
        ChainStep(technique="distill", seconds=1.0),
        ChainStep(technique="quantize", seconds=1.0),
    )
    lineage = small.lineage.model_copy(update={"chain": chain})
    print_variants("fraud", [small.model_copy(update={"lineage": lineage})])
    row = capsys.readouterr().out.splitlines()[-2]
    for part in (
        "small", "2", "0.7000", "0.9950 (0.981–1.004)", "99.87 %", "0.010 ms", "passed",
        "distill → quantize",
    ):  # fmt: skip
        assert part in row


def test_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    manifest = _manifest("original")
    (row,) = manifest.latency.by_rows
    by_rows = (row.model_copy(update={"rows": 32}),)
    latency = manifest.latency.model_copy(update={"by_rows": by_rows})
    lineage = manifest.lineage.model_copy(update={"chain": ()})
    update = {"latency": latency, "lineage": lineage}
    print_variants("fraud", [manifest.model_copy(update=update)])
    row_text = capsys.readouterr().out.splitlines()[-2]
    assert row_text.count("–") == 4, "ratio, agreement, latency of 1 row, chain"
    assert "ms" not in row_text
