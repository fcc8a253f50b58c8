"""Workloads that divide their rows: an offer beside those of `compression.workloads.base`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from compression.quality.segmentation import Segmentation
from compression.workloads.base import Rows, Workload


@runtime_checkable
class Segmented(Protocol):
    """A workload whose variants are also judged segment by segment."""

    def segments(self, rows: Rows) -> Mapping[str, Segmentation]:
        """Divisions of rows int64[m], by what they divide by, e.g. amount."""
        ...


def segments_of(workload: Workload, rows: Rows) -> Mapping[str, Segmentation]:
    """The workload's divisions of rows int64[m]; none where it has no `segments`."""
    return workload.segments(rows) if isinstance(workload, Segmented) else {}
