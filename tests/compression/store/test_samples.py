from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compression.store import CorruptArtifactError, Samples
from tests.support.store import make_samples


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _arrays(**changes: Any) -> dict[str, npt.NDArray[Any]]:
    return {
        "label": np.zeros(3, np.float32),
        "routing_key": np.array(["a", "b", "c"]),
        "input.x": np.ones((3, 2), np.float32),
    } | changes


def test_samples_round_trip_bit_for_bit() -> None:
    samples = make_samples()
    back = Samples.from_bytes(samples.to_bytes())
    assert list(back.inputs) == list(samples.inputs)
    for name, array in samples.inputs.items():
        assert back.inputs[name].dtype == array.dtype
        assert back.inputs[name].tobytes() == array.tobytes()
    np.testing.assert_array_equal(back.labels, samples.labels)
    np.testing.assert_array_equal(back.routing_keys, samples.routing_keys)
    assert len(back) == len(samples) == 64


def test_rows_wrap_around_at_the_end() -> None:
    samples = make_samples(rows=5)
    batch = samples.rows(3, 13)
    assert list(batch) == ["transaction", "history"]
    expected = samples.inputs["history"][[3, 4, 0, 1, 2, 3, 4, 0, 1, 2]]
    np.testing.assert_array_equal(batch["history"], expected)
    assert batch["history"].flags.c_contiguous


@pytest.mark.parametrize("name", ["label", "routing_key", "input.x"])
def test_pickled_objects_are_refused(name: str) -> None:
    content = _npz(**_arrays(**{name: np.array([{"a": 1}, None, "c"], dtype=object)}))
    with pytest.raises(CorruptArtifactError, match="allow_pickle"):
        Samples.from_bytes(content)


@pytest.mark.parametrize("missing", ["label", "routing_key"])
def test_a_missing_array_is_named(missing: str) -> None:
    arrays = _arrays()
    del arrays[missing]
    with pytest.raises(CorruptArtifactError, match=f"cannot be read.*{missing}"):
        Samples.from_bytes(_npz(**arrays))


def test_arrays_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(CorruptArtifactError, match="unequal lengths"):
        Samples.from_bytes(_npz(**_arrays(**{"input.x": np.ones((4, 2), np.float32)})))


def test_no_rows_are_no_samples() -> None:
    empty = {name: array[:0] for name, array in _arrays().items()}
    with pytest.raises(CorruptArtifactError, match="no rows"):
        Samples.from_bytes(_npz(**empty))


def test_no_inputs_are_no_samples() -> None:
    arrays = _arrays()
    del arrays["input.x"]
    with pytest.raises(CorruptArtifactError, match="no inputs"):
        Samples.from_bytes(_npz(**arrays))


@pytest.mark.parametrize("damage", ["junk", "empty", "cut", "flipped", "not an archive of arrays"])
def test_a_damaged_file_is_refused(damage: str) -> None:
    content = make_samples().to_bytes()
    middle = len(content) // 2
    damaged = {
        "junk": b"junk",
        "empty": b"",
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "not an archive of arrays": _lone_array(),
    }[damage]
    with pytest.raises(CorruptArtifactError, match=r"samples\.npz cannot be read"):
        Samples.from_bytes(damaged)


def _lone_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()
