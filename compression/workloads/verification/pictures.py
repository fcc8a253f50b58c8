"""Made-up pictures of made-up identities: what a camera sees of a pattern of strokes.

An identity is a pattern of soft, oriented strokes, as in a palm's veins. All identities descend
from one template, relatives share part of their deviation from it, and every picture bends,
turns, lights and partly covers the pattern before noise is added. Everything is computed at the
pixels' own coordinates: nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float32]

CENTRE_X, CENTRE_Y, LENGTH, WIDTH, ANGLE, DARKNESS = range(6)
"""Parameters of a stroke; lengths and widths are logarithms, the plane is [-1, 1]²."""
SPREAD = np.array([0.12, 0.12, 0.25, 0.25, 0.4, 0.35], np.float32)
"""Standard deviation of each parameter between unrelated identities."""
MIDDLE_GREY, CONTRAST = 128.0, 72.0
PICTURES_AT_ONCE = 256


class PictureConfig(BaseModel):
    """What identities have in common, and how pictures of one differ. Deviations are σ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    size: int = Field(default=32, ge=8, le=256)
    """Pixels a side."""
    strokes: int = Field(default=20, ge=1)
    relatives: int = Field(default=4, ge=2)
    """Identities of one family."""
    pictures: int = Field(default=8, ge=2)
    """Of each identity."""
    kinship: float = Field(default=0.7, ge=0, le=1)
    """Correlation of two relatives' deviations from the template."""
    expression: float = Field(default=0.25, ge=0)
    """Change of each stroke from picture to picture, as a share of SPREAD."""
    pose: float = Field(default=1.0, ge=0)
    """Strength of turns, shifts, scaling and bending."""
    lighting: float = Field(default=1.0, ge=0)
    """Strength of gradients, exposure and contrast."""
    covered: float = Field(default=0.5, ge=0, le=1)
    """Share of pictures with a rectangle over part of the pattern."""
    noise: float = Field(default=0.08, ge=0)
    """Of each pixel, where strokes have about 1."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures ordered by family, identity and take."""

    pixels: npt.NDArray[np.uint8]
    """uint8[p, size, size], 0 black to 255 white."""
    identity: npt.NDArray[np.int32]
    """int32[p]: whom each shows, from 0."""


def draw_pictures(config: PictureConfig, families: int) -> Pictures:
    """`families` · relatives · pictures pictures; the same for the same settings."""
    generator = np.random.default_rng([config.seed, 1])
    people = draw_identities(config, families, generator)
    identity = np.repeat(np.arange(len(people), dtype=np.int32), config.pictures)
    pixels = np.empty((len(identity), config.size, config.size), np.uint8)
    for start in range(0, len(identity), PICTURES_AT_ONCE):
        part = slice(start, start + PICTURES_AT_ONCE)
        pixels[part] = _photographed(people[identity[part]], config, generator)
    return Pictures(pixels, identity)


def draw_identities(config: PictureConfig, families: int, generator: np.random.Generator) -> Floats:
    """Stroke parameters float32[families · relatives, strokes, 6], relatives side by side."""
    template = _template(config.strokes, np.random.default_rng([config.seed, 0]))
    shape = (families, 1, config.strokes, len(SPREAD))
    shared = _normal(generator, shape)
    own = _normal(generator, (families, config.relatives, *shape[2:]))
    deviation = np.sqrt(config.kinship) * shared + np.sqrt(1 - config.kinship) * own
    people: Floats = template + SPREAD * deviation.astype(np.float32)
    return people.reshape(-1, config.strokes, len(SPREAD))


def _template(strokes: int, generator: np.random.Generator) -> Floats:
    """float32[strokes, 6]"""
    template = np.empty((strokes, len(SPREAD)), np.float32)
    template[:, CENTRE_X] = generator.uniform(-0.75, 0.75, strokes)
    template[:, CENTRE_Y] = generator.uniform(-0.75, 0.75, strokes)
    template[:, LENGTH] = np.log(generator.uniform(0.12, 0.4, strokes))
    template[:, WIDTH] = np.log(generator.uniform(0.05, 0.12, strokes))
    template[:, ANGLE] = generator.uniform(0, np.pi, strokes)
    signs = generator.choice([-1.0, 1.0], strokes)
    template[:, DARKNESS] = signs * generator.uniform(0.5, 1.0, strokes)
    return template


def _photographed(
    strokes: Floats, config: PictureConfig, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """One picture of each of strokes float32[m, strokes, 6]: uint8[m, size, size]."""
    shown = strokes + config.expression * SPREAD * _normal(generator, strokes.shape)
    axis = ((np.arange(config.size) + 0.5) / config.size * 2 - 1).astype(np.float32)
    x, y = axis[None, None, :], axis[None, :, None]
    pattern = _pattern(shown, *_posed(x, y, len(strokes), config.pose, generator))
    lit = _lit(pattern, x, y, config.lighting, generator)
    covered = _covered(lit, x, y, config.covered, generator)
    noisy = covered + config.noise * _normal(generator, covered.shape)
    pixels: npt.NDArray[np.uint8] = np.clip(MIDDLE_GREY + CONTRAST * noisy, 0, 255).astype(np.uint8)
    return pixels


def _posed(
    x: Floats, y: Floats, count: int, pose: float, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Where in the pattern's plane each pixel looks: two float32[count, size, size]."""
    one = (count, 1, 1)
    turn = 0.15 * pose * _normal(generator, one)
    scale = np.exp(0.07 * pose * _normal(generator, one))
    shift_x, shift_y = 0.1 * pose * _normal(generator, (2, *one))
    u = (np.cos(turn) * x - np.sin(turn) * y) * scale + shift_x
    v = (np.sin(turn) * x + np.cos(turn) * y) * scale + shift_y
    frequency = 1.5 * _normal(generator, (2, 2, *one))
    phase = generator.uniform(0, 2 * np.pi, (2, *one)).astype(np.float32)
    bend_u, bend_v = (
        0.05 * pose * np.sin(frequency[i, 0] * u + frequency[i, 1] * v + phase[i]) for i in (0, 1)
    )
    return u + bend_u, v + bend_v


def _pattern(strokes: Floats, u: Floats, v: Floats) -> Floats:
    """Sum of soft strokes float32[m, strokes, 6] at (u, v): float32[m, size, size]."""
    total = np.zeros_like(u)
    for number in range(strokes.shape[1]):
        x, y, length, width, angle, darkness = strokes[:, number].T[:, :, None, None]
        right, down = u - x, v - y
        along = (right * np.cos(angle) + down * np.sin(angle)) * np.exp(-length)
        across = (down * np.cos(angle) - right * np.sin(angle)) * np.exp(-width)
        total += darkness * np.exp(-0.5 * (along**2 + across**2))
    return total


def _lit(
    pattern: Floats, x: Floats, y: Floats, lighting: float, generator: np.random.Generator
) -> Floats:
    """A gradient over the picture, then contrast and exposure."""
    one = (len(pattern), 1, 1)
    gradient_x, gradient_y = 0.35 * lighting * _normal(generator, (2, *one))
    contrast = np.exp(0.25 * lighting * _normal(generator, one))
    exposure = 0.2 * lighting * _normal(generator, one)
    lit: Floats = (pattern + gradient_x * x + gradient_y * y) * contrast + exposure
    return lit


def _covered(
    lit: Floats, x: Floats, y: Floats, share: float, generator: np.random.Generator
) -> Floats:
    """A plain rectangle over some of the pictures."""
    one = (len(lit), 1, 1)
    centre_x, centre_y = generator.uniform(-1, 1, (2, *one))
    half_width, half_height = generator.uniform(0.1, 0.35, (2, *one))
    inside = (np.abs(x - centre_x) < half_width) & (np.abs(y - centre_y) < half_height)
    chosen = inside & (generator.random(one) < share)
    return np.where(chosen, 0.8 * _normal(generator, one), lit)


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.standard_normal(shape, np.float32)
