from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.routing.state import TableState
from serve_app.routing.table import RoutingTable


def table(version: int) -> RoutingTable:
    return RoutingTable(version=version, model="fraud", weights={"original": 1.0})


def test_the_newest_version_is_found_again(tmp_path: Path) -> None:
    state = TableState(tmp_path / "new" / "folder")
    assert state.latest() is None
    assert state.highest_version() == 0
    for version in (1, 2, 10):
        state.save(table(version))
    assert TableState(state.folder).latest() == table(10)
    assert state.highest_version() == 10
    assert len(list(state.folder.iterdir())) == 3


def test_a_version_is_given_once(tmp_path: Path) -> None:
    state = TableState(tmp_path)
    state.save(table(1))
    with pytest.raises(FileExistsError):
        state.save(table(1))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_version_is_passed_over_but_its_number_is_not_reused(tmp_path: Path) -> None:
    state = TableState(tmp_path)
    state.save(table(1))
    (tmp_path / "table-00000002.json").write_text('{"version": 2')
    assert state.latest() == table(1)
    assert state.highest_version() == 2
