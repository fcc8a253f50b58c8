from __future__ import annotations

import numpy as np
import pytest

from compression.quantisation.drift import drifts, features, stability_index

GENERATOR = np.random.default_rng(0)


def _normal(*shape: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {"x": GENERATOR.normal(size=shape).astype(np.float32)}


def test_the_index_of_two_bins_is_what_the_formula_says() -> None:
    """Half of the training values are 0, half are 1; of the set a quarter and three quarters."""
    expected = np.repeat([0.0, 1.0], 20_000)
    given = np.repeat([0.0, 1.0], [10_000, 30_000])
    by_hand = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert stability_index(given, expected) == pytest.approx(by_hand, rel=1e-3)
    assert stability_index(expected, expected) == 0


def test_the_index_grows_with_the_shift_and_is_the_usual_figure() -> None:
    expected = GENERATOR.normal(size=20_000)
    shifted = [stability_index(expected + by, expected) for by in (0.1, 0.5, 1.0)]
    assert shifted == sorted(shifted)
    assert shifted[0] < 0.1
    assert 0.15 < shifted[1] < 0.35
    assert shifted[2] > 0.7


@pytest.mark.parametrize("rows", [5, 50, 500])
def test_chance_alone_stays_within_the_bound(rows: int) -> None:
    reference = _normal(4000, 40)
    given = _normal(rows, 40)
    assert not any(drift.too_far for drift in drifts(given, reference, 1e-9))


def test_either_measure_is_enough_to_be_too_far() -> None:
    """A tail that training never saw hardly moves the index; a narrow set is never outside."""
    reference = _normal(4000, 2)
    given = _normal(1000, 2)
    given["x"][:80, 0] = 50.0
    given["x"][:, 1] *= 0.01
    tail, narrow = drifts(given, reference, 0.25)
    assert tail.too_far
    assert tail.index < tail.index_bound
    assert tail.outside == pytest.approx(0.08, abs=0.01)
    assert tail.given_range[1] == 50
    assert narrow.too_far
    assert narrow.outside == 0
    assert narrow.index > narrow.index_bound


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((7,), (1, 7)), ((7, 3), (3, 7)), ((7, 5, 3), (3, 35)), ((7, 3, 4, 4), (3, 112))],
)
def test_features_are_the_last_axis_and_an_image_s_channels(
    shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    array = np.zeros(shape, np.int64)
    assert features(array).shape == expected


def test_a_constant_feature_may_not_begin_to_vary() -> None:
    reference = {"x": np.ones((4000, 1), np.float32)}
    (drift,) = drifts(_normal(500, 1), reference, 0.25)
    assert drift.too_far
    (same,) = drifts({"x": reference["x"][:500]}, reference, 0.25)
    assert not same.too_far
