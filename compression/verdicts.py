"""Sentences a report prints: is the original worth it, did the teacher help, what pruning gave.

Computed from paired intervals and measurements, never written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compression.store import Estimate


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})"


def earns_its_cost(baseline: str, ratio: Estimate) -> str:
    """A cheap baseline's average precision as a ratio to the original's, in words."""
    said = f"{baseline} reaches {_interval(ratio)} of the original's average precision"
    if ratio.high is not None and ratio.high < 1:
        return f"The original earns its cost on this data: {said}."
    if ratio.low is not None and ratio.low > 1:
        return f"The original does not earn its cost on this data: {said}."
    return f"Whether the original earns its cost cannot be told from this sample: {said}."


def teacher_helped(student: str, alone: str, ratio: Estimate, teacher_seconds: float) -> str:
    """The taught student's average precision as a ratio to its untaught twin's, in words."""
    said = (
        f"{student} reaches {_interval(ratio)} of the average precision of {alone}, the same "
        f"student trained on as many rows of the same pool without a teacher; scoring the pool "
        f"with the teacher took another {teacher_seconds:.0f} s"
    )
    if ratio.low is not None and ratio.low > 1:
        return f"The teacher helped: {said}."
    if ratio.high is not None and ratio.high < 1:
        return f"The teacher did harm: {said}."
    return f"The teacher made no difference that this sample can show: {said}."


NOTICEABLE = 0.05
"""A p50 that differs by less is called no difference; the whole interval must lie on one side."""


def _times(value: float) -> str:
    return f"{value:.2f}×"


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _speed(notes: Mapping[str, Any]) -> str:
    """What ONNX Runtime makes of a changed graph, in words: `gave no speed …`."""
    ratio, low, high = (notes[f"p50_ratio_to_dense{end}"] for end in ("", "_low", "_high"))
    figures = f"in ONNX Runtime (p50 ratio {ratio:.2f}, 95 % interval {low:.2f} to {high:.2f})"
    if high < 1 - NOTICEABLE:
        return f"made it {_times(1 / ratio)} as fast {figures}"
    if low > 1 + NOTICEABLE:
        return f"made it slower {figures}"
    if low < 1 - NOTICEABLE:
        return f"may have made it faster, which this machine was too busy to tell, {figures}"
    return f"gave no speed {figures}"


def sparsity_gave(name: str, notes: Mapping[str, Any]) -> str:
    """What zeros in the weights were good for, from the notes of `sparsify`, in words."""
    packed = notes["zstd_bytes_dense"] / notes["zstd_bytes"]
    return (
        f"{name}: {notes['pattern']} sparsity ({notes['sparsity']:.0%} of the weights are zero) "
        f"{_speed(notes)}; its file is {_times(notes['bytes_dense'] / notes['bytes'])} smaller as "
        f"it is, and {_times(packed)} smaller where both are packed with Zstandard."
    )


def factorisation_gave(name: str, notes: Mapping[str, Any]) -> str:
    """What low ranks were good for, from the notes of `factorize`, in words."""
    return (
        f"{name}: low ranks in {len(notes['layers'])} layers {_speed(notes)}; its file is "
        f"{_times(notes['bytes_dense'] / notes['bytes'])} smaller."
    )


def pruning_reached(name: str, notes: Mapping[str, Any]) -> str:
    """How far pruning went and why it ended, from the notes of `prune`, in words."""
    rounds, chosen = notes["rounds"], notes["round_kept"]
    said = f"{name}: pruning ended after round {len(rounds)} ({notes['stopped']})"
    if chosen < len(rounds):
        broken = ", ".join(rounds[-1]["broken"])
        said += f", which broke the gate on validation rows ({broken}): round {chosen} was kept"
    elif notes["gate_held"] is False:
        broken = ", ".join(rounds[-1]["broken"])
        said += f"; no round held the gate on validation rows ({broken})"
    reached, missed = notes.get("target_reached", {}), notes.get("target_missed", ())
    bounds = (
        f"{target} {_figure(reached[target])} of {_figure(bound)} "
        f"{'missed' if target in missed else 'met'}"
        for target, bound in notes.get("target", {}).items()
    )
    return "; ".join((said, *bounds)) + f"; it {_speed(notes)}."


TOLD: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "prune": pruning_reached,
    "sparsify": sparsity_gave,
    "factorize": factorisation_gave,
}
"""Techniques whose notes are told in words, as (variant's name, notes) → sentence."""
