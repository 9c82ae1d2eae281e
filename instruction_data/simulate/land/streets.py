"""Streets of a settlement: their coordinates, the blocks between them, and the streets' pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.noise import (
    Mask,
    Plane,
    coarse_side,
    fractal_noise,
    upsample,
)

TABLE_SIZE = 4096
"""Blocks and lots with the same style number, of this many, look alike."""


@dataclass(frozen=True)
class BlockAxis:
    """Blocks along one axis, per pixel (n,).

    Attributes:
        number: number of the block.
        offset: distance in metres from the start of the block.
        width: width of the block in metres.
    """

    number: NDArray[np.int32]
    offset: Plane
    width: Plane

    @property
    def from_edge(self) -> Plane:
        """Distance in metres to the nearer edge of the block."""
        return np.minimum(self.offset, self.width - self.offset)


@dataclass(frozen=True)
class StreetGrid:
    """Blocks along both axes, and half the width of the streets between them in metres."""

    u: BlockAxis
    v: BlockAxis
    half_width: np.float32

    @property
    def block(self) -> NDArray[np.int32]:
        """Style number of the block, under ``TABLE_SIZE``, per pixel (n,)."""
        return (self.u.number * 73 + self.v.number * 151) & (TABLE_SIZE - 1)

    def draw_streets(self, rng: Generator) -> tuple[Mask, Plane]:
        """Draw wider main streets along one axis and leave out some streets along the other.

        Returns:
            Where streets are (n,), and half the width in metres of the nearest street of the axis
            ``u`` (n,).
        """
        missing = rng.random(TABLE_SIZE) < 0.12
        main = rng.random(TABLE_SIZE) < 0.15
        half_u = self.half_width * (1 + 0.8 * main[self.u.number & (TABLE_SIZE - 1)])
        crossing = (self.u.number * 31 + self.v.number * 17) & (TABLE_SIZE - 1)
        street_v = (self.v.from_edge < self.half_width) & ~missing[crossing]
        return (self.u.from_edge < half_u) | street_v, half_u


def street_coordinates(
    rng: Generator, pixels: NDArray[np.intp], size: int, gsd_m: float
) -> tuple[Plane, Plane]:
    """Coordinates (n,) in metres along and across the streets.

    The streets are a straight grid, a bent grid, or rings and spokes.

    Args:
        rng: random generator.
        pixels: (n,) flat numbers of the pixels.
        size: pixels a side of the landscape.
        gsd_m: pixel width in metres.
    """
    rows, columns = np.divmod(pixels, size)
    y = rows.astype(np.float32) * np.float32(gsd_m)
    x = columns.astype(np.float32) * np.float32(gsd_m)
    extent_m = gsd_m * size
    style = rng.choice(["grid", "bent", "rings"], p=[0.45, 0.4, 0.15])
    if style == "rings":
        y = y - np.float32(rng.uniform(0, extent_m))
        x = x - np.float32(rng.uniform(0, extent_m))
        return np.hypot(y, x), np.arctan2(y, x) * np.float32(max(extent_m / 3, 80))
    angle = rng.uniform(0, np.pi)
    cos = np.float32(np.cos(angle))
    sin = np.float32(np.sin(angle))
    u = x * cos + y * sin
    v = y * cos - x * sin
    if style == "grid":
        return u, v
    longest = float(np.clip(rng.uniform(400, 1500) / extent_m, 0.15, 1))
    bend_m = np.float32(rng.uniform(0.02, 0.06) * longest * extent_m)
    side = coarse_side(size)

    def bent(position: Plane) -> Plane:
        bends = upsample(fractal_noise(rng, side, 3.0, longest) * bend_m, size)
        return position + bends.ravel()[pixels]

    return bent(u), bent(v)


def cut_axis(rng: Generator, position: Plane, block_m: float) -> BlockAxis:
    """Cut an axis into blocks of about ``block_m`` metres at the (n,) positions in metres."""
    low = float(position.min())
    high = float(position.max())
    widths = rng.uniform(0.65, 1.35, int((high - low) / block_m / 0.65) + 3) * block_m
    starts = low - rng.uniform(0, 1) * block_m + np.concatenate([[0], np.cumsum(widths)])
    number = np.searchsorted(starts, position, side="right") - 1
    return BlockAxis(
        number=number.astype(np.int32),
        offset=position - starts[number].astype(np.float32),
        width=widths[number].astype(np.float32),
    )
