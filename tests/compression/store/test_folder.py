from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from compression.store.folder import write_folder


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_holds_just_what_it_was_given(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "new"
    write_folder(folder, {"a": b"1", "b": b""})
    assert _content(folder) == {"a": b"1", "b": b""}
    write_folder(folder, {"c": b"3"})
    assert _content(folder) == {"c": b"3"}
    assert [path.name for path in folder.parent.iterdir()] == ["new"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, {"a": b"old"})
    rename, calls = os.rename, [0]

    def broken(source: Any, target: Any) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr("os.rename", broken)
    with pytest.raises(OSError, match="disk full"):
        write_folder(folder, {"a": b"new"})
    assert _content(folder) == {"a": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
