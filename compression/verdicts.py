"""Sentences a report prints: does the original earn its cost, did the teacher help.

Computed from paired intervals, never written by hand.
"""

from __future__ import annotations

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
        f"student trained on the same rows for as many epochs without a teacher; scoring those "
        f"rows with the teacher took another {teacher_seconds:.0f} s"
    )
    if ratio.low is not None and ratio.low > 1:
        return f"The teacher helped: {said}."
    if ratio.high is not None and ratio.high < 1:
        return f"The teacher did harm: {said}."
    return f"The teacher made no difference that this sample can show: {said}."
