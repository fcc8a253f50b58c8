"""Watches a technique's progress."""

from __future__ import annotations


class Reports:
    """Keeps every (done, all)."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.calls.append((done, total))
