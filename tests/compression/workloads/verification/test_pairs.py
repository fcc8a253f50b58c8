from __future__ import annotations

import numpy as np
import pytest

from compression.workloads.verification.pairs import PairConfig, Pairs, draw_pairs

RELATIVES, PICTURES = 3, 5
CONFIG = PairConfig(same=2, relatives=3, strangers=4)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Of families 2, 3, 4 and 5."""
    return draw_pairs(CONFIG, (2, 6), RELATIVES, PICTURES, np.random.default_rng(0))


def _identity(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    return pairs.probe // PICTURES, pairs.reference // PICTURES


def test_every_picture_of_the_window_is_a_probe_as_often(pairs: Pairs) -> None:
    pictures, times = np.unique(pairs.probe, return_counts=True)
    np.testing.assert_array_equal(pictures, np.arange(2 * 15, 6 * 15))
    assert set(times.tolist()) == {9}
    assert (np.diff(pairs.probe) >= 0).all()


def test_no_pair_leaves_the_window(pairs: Pairs) -> None:
    assert pairs.reference.min() >= 2 * 15
    assert pairs.reference.max() < 6 * 15


def test_pairs_of_one_identity_are_different_pictures(pairs: Pairs) -> None:
    probe, reference = _identity(pairs)
    same = probe == reference
    assert same.sum() == 2 * 4 * 15
    assert (pairs.probe[same] != pairs.reference[same]).all()
    drawn = set(zip(pairs.probe[same].tolist(), pairs.reference[same].tolist(), strict=True))
    assert len(drawn) == same.sum(), "no pair comes twice"


def test_impostors_are_relatives_and_strangers_as_asked(pairs: Pairs) -> None:
    probe, reference = _identity(pairs)
    related = probe // RELATIVES == reference // RELATIVES
    impostors = probe != reference
    assert (related & impostors).sum() == 3 * 4 * 15
    assert (~related).sum() == 4 * 4 * 15
    strange = ~related
    met = set(zip(probe[strange].tolist(), (reference // RELATIVES)[strange].tolist(), strict=True))
    assert len(met) == 4 * RELATIVES * 3, "everyone meets every other family"


def test_other_draws_are_other_pairs() -> None:
    first, second = (
        draw_pairs(CONFIG, (0, 4), RELATIVES, PICTURES, np.random.default_rng(seed))
        for seed in (1, 2)
    )
    assert (first.reference != second.reference).any()
