from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from compression.workloads.verification.pictures import (
    DARKNESS,
    SPREAD,
    PictureConfig,
    draw_identities,
    draw_pictures,
)

TINY = PictureConfig(seed=3, size=16, pictures=4, strokes=8)
PLAIN = {"expression": 0, "pose": 0, "lighting": 0, "covered": 0, "noise": 0}


def test_pictures_come_by_family_identity_and_take() -> None:
    drawn = draw_pictures(TINY, 5)
    assert drawn.pixels.shape == (5 * 4 * 4, 16, 16)
    assert drawn.pixels.dtype == np.uint8
    np.testing.assert_array_equal(drawn.identity, np.repeat(np.arange(20), 4))


def test_the_seed_decides() -> None:
    first, again = draw_pictures(TINY, 5), draw_pictures(TINY, 5)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    other = draw_pictures(TINY.model_copy(update={"seed": 4}), 5)
    assert (first.pixels != other.pixels).mean() > 0.5


def test_without_any_disturbance_all_pictures_of_an_identity_are_equal() -> None:
    drawn = draw_pictures(TINY.model_copy(update=PLAIN), 3)
    pictures = drawn.pixels.reshape(12, 4, 16, 16)
    assert (pictures == pictures[:, :1]).all()
    assert all((pictures[0, 0] != other).any() for other in pictures[1:, 0])


@pytest.mark.parametrize(
    "disturbance", [{"expression": 1.0}, {"pose": 1.0}, {"lighting": 1.0}, {"noise": 0.1}]
)
def test_each_disturbance_changes_every_picture(disturbance: dict[str, float]) -> None:
    drawn = draw_pictures(TINY.model_copy(update=PLAIN | disturbance), 3)
    pictures = drawn.pixels.reshape(12, 4, -1)
    assert (pictures[:, 0] != pictures[:, 1]).any(axis=1).all()


def test_a_rectangle_covers_the_share_asked_for() -> None:
    config = TINY.model_copy(update=PLAIN | {"covered": 0.5, "pictures": 50})
    pictures = draw_pictures(config, 3).pixels.reshape(12, 50, -1)
    plain = draw_pictures(TINY.model_copy(update=PLAIN), 3).pixels.reshape(12, 4, -1)[:, :1]
    covered = (pictures != plain).any(axis=2).mean()
    assert 0.4 < covered < 0.55, "a rectangle may lie between two pixels' centres"


def test_relatives_resemble_each_other_as_much_as_they_should() -> None:
    config = PictureConfig(strokes=30, relatives=2, kinship=0.6)
    people = draw_identities(config, 400, np.random.default_rng(0))
    family = people.reshape(400, 2, -1)
    deviation = (family - family.mean(axis=(0, 1))) / np.tile(SPREAD, 30)
    assert deviation.std() == pytest.approx(1, abs=0.05)
    related = (deviation[:, 0] * deviation[:, 1]).mean()
    assert related == pytest.approx(0.6, abs=0.05)
    strangers = (deviation[1:, 0] * deviation[:-1, 1]).mean()
    assert strangers == pytest.approx(0, abs=0.05)


def test_strokes_are_dark_and_light() -> None:
    people = draw_identities(PictureConfig(), 2, np.random.default_rng(0))
    share = (people[:, :, DARKNESS] > 0).mean()
    assert 0.1 < share < 0.9


@pytest.mark.parametrize(
    "wrong", [{"size": 4}, {"pictures": 1}, {"relatives": 1}, {"kinship": 1.5}, {"colour": True}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PictureConfig.model_validate(wrong)
