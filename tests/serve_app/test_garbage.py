from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from serve_app.garbage import settle


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_not_looked_through_again() -> None:
    before = gc.get_freeze_count()
    settle()
    assert gc.get_freeze_count() > max(before, 10_000)
    assert gc.get_threshold()[0] > 10_000
    assert gc.isenabled()


def test_cycles_of_before_are_freed_when_something_changed() -> None:
    kept, replaced = Node(), Node()
    alive, gone = weakref.ref(kept), weakref.ref(replaced)
    settle()
    del replaced
    gc.collect()
    assert gone() is not None  # it stays until the next change
    settle()
    assert gone() is None
    assert alive() is kept
