from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.arrays import load_arrays, save_arrays


def test_arrays_and_numbers_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.npz"
    scores = np.arange(5, dtype=np.float16)
    save_arrays(path, scores=scores, seconds=1.5)
    stored = load_arrays(path)
    assert stored is not None
    np.testing.assert_array_equal(stored["scores"], scores)
    assert stored["scores"].dtype == np.float16
    assert float(stored["seconds"]) == 1.5
    assert [file.name for file in path.parent.iterdir()] == ["cache.npz"]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert load_arrays(tmp_path / "cache.npz") is None


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    path = tmp_path / "cache.npz"
    if before:
        save_arrays(path, scores=np.ones(3))

    def half(file: io.BufferedWriter, **_: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(KeyboardInterrupt):
        save_arrays(path, scores=np.zeros(3))
    stored = load_arrays(path)
    assert (stored is not None and stored["scores"].tolist() == [1, 1, 1]) is before
    assert len(list(tmp_path.iterdir())) == int(before)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "cache.npz", scores=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_arrays(tmp_path / "cache.npz")
