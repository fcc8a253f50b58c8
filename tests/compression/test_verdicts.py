from __future__ import annotations

from typing import Any

import pytest

from compression.store import Estimate
from compression.techniques import TECHNIQUES
from compression.verdicts import (
    TOLD,
    earns_its_cost,
    factorisation_gave,
    pruning_reached,
    sparsity_gave,
    teacher_helped,
)


def _between(low: float | None, high: float | None) -> Estimate:
    return Estimate(value=0.97, low=low, high=high)


@pytest.mark.parametrize(
    ("estimate", "beginning"),
    [
        (_between(0.9, 0.99), "The original earns its cost on this data: "),
        (_between(1.01, 1.1), "The original does not earn its cost on this data: "),
        (_between(0.9, 1.02), "Whether the original earns its cost cannot be told from this "),
        (_between(0.9, 1.0), "Whether the original"),
        (_between(1.0, 1.1), "Whether the original"),
        (_between(None, None), "Whether the original"),
    ],
)
def test_whether_the_original_earns_its_cost(estimate: Estimate, beginning: str) -> None:
    said = earns_its_cost("gradient boosting", estimate)
    assert said.startswith(beginning)
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("estimate", "beginning"),
    [
        (_between(1.01, 1.1), "The teacher helped: "),
        (_between(0.9, 0.99), "The teacher did harm: "),
        (_between(0.99, 1.1), "The teacher made no difference that this sample can show: "),
        (_between(None, None), "The teacher made no difference"),
    ],
)
def test_whether_the_teacher_helped(estimate: Estimate, beginning: str) -> None:
    said = teacher_helped("distilled", "alone", estimate, 59.6)
    assert said.startswith(beginning)
    assert "distilled reaches 0.970" in said
    assert "of alone" in said
    assert said.endswith("took another 60 s.")


def test_the_interval_is_told_where_there_is_one() -> None:
    assert "0.970 (95 % interval 0.900 to 0.990) of the" in earns_its_cost(
        "boosting", _between(0.9, 0.99)
    )
    assert "reaches 0.970 of the" in earns_its_cost("boosting", _between(None, None))


def _measured(ratio: float, low: float, high: float, **notes: Any) -> dict[str, Any]:
    return {
        "p50_ratio_to_dense": ratio,
        "p50_ratio_to_dense_low": low,
        "p50_ratio_to_dense_high": high,
        "bytes_dense": 1000,
        "bytes": 800,
        "zstd_bytes_dense": 930,
        "zstd_bytes": 550,
        **notes,
    }


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((1.01, 0.99, 1.03), "gave no speed in ONNX Runtime (p50 ratio 1.01, 95 % interval 0.99"),
        ((0.97, 0.96, 0.99), "gave no speed"),
        ((0.95, 0.47, 0.99), "may have made it faster, which this machine was too busy to tell"),
        ((0.90, 0.85, 0.96), "may have made it faster"),
        ((0.50, 0.45, 0.55), "made it 2.00× as fast in ONNX Runtime (p50 ratio 0.50"),
        ((1.20, 1.10, 1.30), "made it slower in ONNX Runtime (p50 ratio 1.20"),
        ((1.20, 0.99, 1.30), "gave no speed"),
    ],
)
def test_what_sparsity_gave(ratio: tuple[float, float, float], said: str) -> None:
    notes = _measured(*ratio, pattern="2:4", sparsity=0.493)
    sentence = sparsity_gave("sparse", notes)
    assert sentence.startswith(f"sparse: 2:4 sparsity (49% of the weights are zero) {said}")
    assert "1.25× smaller as it is, and 1.69× smaller where both are packed" in sentence


def test_what_low_ranks_gave() -> None:
    layers = {"a": {"rank": 3, "energy": 0.9}, "b": {"rank": 2, "energy": 0.9}}
    sentence = factorisation_gave("thin", _measured(0.8, 0.7, 0.9, layers=layers))
    assert sentence.startswith("thin: low ranks in 2 layers made it 1.25× as fast")
    assert sentence.endswith("its file is 1.25× smaller.")


def _pruning(kept: int, broken: list[list[str]], **notes: Any) -> dict[str, Any]:
    rounds = [{"broken": conditions} for conditions in broken]
    return _measured(0.5, 0.4, 0.6, rounds=rounds, round_kept=kept, **notes)


def test_how_far_pruning_went() -> None:
    met = _pruning(
        2, [[], []], stopped="target met", gate_held=True, target={"speedup": 2.0},
        target_reached={"speedup": 2.1}, target_missed=[],
    )  # fmt: skip
    assert pruning_reached("pruned", met) == (
        "pruned: pruning ended after round 2 (target met); speedup 2.10 of 2.00 met; it made it "
        "2.00× as fast in ONNX Runtime (p50 ratio 0.50, 95 % interval 0.40 to 0.60)."
    )
    stopped = _pruning(
        1, [[], ["auc_ratio"]], stopped="gate", gate_held=True, target={"bytes": 1_000_000},
        target_reached={"bytes": 1_500_000}, target_missed=["bytes"],
    )  # fmt: skip
    sentence = pruning_reached("pruned", stopped)
    assert "which broke the gate on validation rows (auc_ratio): round 1 was kept" in sentence
    assert "bytes 1,500,000 of 1,000,000 missed" in sentence


def test_pruning_whose_first_round_broke_the_gate_is_told() -> None:
    sentence = pruning_reached("p", _pruning(1, [["auc_ratio"]], stopped="gate", gate_held=False))
    assert "no round held the gate on validation rows (auc_ratio)" in sentence
    asked = pruning_reached("p", _pruning(1, [[]], stopped="rounds used up", gate_held=None))
    assert "gate" not in asked


def test_techniques_that_have_something_to_say_exist() -> None:
    assert set(TOLD) <= set(TECHNIQUES)
