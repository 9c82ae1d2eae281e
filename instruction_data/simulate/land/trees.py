"""Single crowns, where pixels are fine enough to show them: in woods, along hedges, in yards, parks and orchards."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.noise import Mask, Plane, fractal
from instruction_data.simulate.land.water import distance_to

FINEST_CROWN_M = 1.6
"""Pixels wider than this (metres) blur crowns to a canopy."""


def plant_trees(
    rng: Generator,
    canvas: Canvas,
    gsd_m: float,
    density: Plane,
    conifer: Plane,
    leaves: float,
    rows: Mask,
    kept: Mask,
) -> None:
    """Set crowns where ``density`` (chance of a tree at a spot) has them; gaps in woods show the ground.

    Args:
        rng: drawn from.
        canvas: painted on; heights are those of the crowns.
        gsd_m: metres a pixel.
        density: 0-1.
        conifer: chance that a tree is a conifer.
        leaves: share of leaves that broadleaved trees carry at this season.
        rows: where trees stand in straight rows (orchards).
        kept: where no crown may reach.
    """
    size = len(canvas.cover)
    spacing = max(rng.uniform(4, 9), 3.2 * gsd_m) / gsd_m
    count = int(size / spacing) + 2
    grid = (np.arange(count) - 0.5) * spacing
    shift = rng.uniform(-0.45, 0.45, (2, count, count)) * spacing
    y, x = (grid[:, None] + shift[0]).ravel(), (grid[None] + shift[1]).ravel()
    row, column = (np.clip(a.astype(int), 0, size - 1) for a in (y, x))
    orderly = rows[row, column]
    y = np.where(orderly, np.repeat(grid, count), y)
    x = np.where(orderly, np.tile(grid, count), x)
    chance = np.where(orderly, 0.95, density[row, column])
    stands = rng.random(y.size) < chance
    if not stands.any():
        return
    y, x, orderly = y[stands], x[stands], orderly[stands]
    row, column = row[stands], column[stands]
    away, nearest = distance_to(size, y, x)
    radius = (
        spacing * np.where(orderly, rng.uniform(0.3, 0.42), rng.uniform(0.4, 0.72, y.size))
    ).astype(np.float32)
    needles = rng.random(y.size) < conifer[row, column]
    radius[needles] *= 0.8
    tall = radius * gsd_m * rng.uniform(1.2, 2.5, y.size).astype(np.float32)
    reach = radius[nearest] * (1 + 0.12 * fractal(rng, size, 0.8, 0.05))
    open_to = ~canvas.is_("water", "building", "settlement") & ~kept
    woods = canvas.is_("tree_cover")
    gap = woods & (away > reach + max(1.5 / gsd_m, 1))
    canvas.paint(
        gap, "grassland", {"grass_green:1": 0.3 + 0.4 * leaves, "litter:0": 0.3, "soil:0": 0.1}
    )
    crown = (away < reach) & open_to & ~canvas.is_("orchard")
    kind = np.where(needles, 3, rng.integers(0, 3, y.size))[nearest]
    for number in range(3):
        canvas.paint(
            crown & (kind == number), "tree_cover",
            {f"canopy_broadleaf:{number}": max(leaves, 0.08), "litter:0": (1 - leaves) * 0.9},
        )  # fmt: skip
    canvas.paint(crown & (kind == 3), "tree_cover", {"canopy_conifer:0": 0.9, "litter:0": 0.1})
    fruit = (away < reach) & canvas.is_("orchard")
    canvas.paint(fruit, "orchard", {"canopy_broadleaf:2": max(leaves, 0.1), "litter:0": 1 - leaves})
    dome = tall[nearest] * np.sqrt(np.clip(1 - (away / np.maximum(reach, 1)) ** 2, 0, 1))
    pointed = tall[nearest] * 1.4 * np.clip(1 - away / np.maximum(reach, 1), 0, 1)
    height = np.where(kind == 3, pointed, dome)
    canvas.height_m[crown | fruit] = height[crown | fruit]
    # Leaves scatter little light out of a crown's depth: rims and the ground between crowns are darker.
    canvas.light *= np.where(woods & ~crown & ~gap, np.float32(0.75), np.float32(1))
