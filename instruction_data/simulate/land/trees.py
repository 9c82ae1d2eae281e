"""Single crowns, where pixels are fine enough: in woods, hedges, yards, parks and orchards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import Mask, Plane, fractal_noise
from instruction_data.simulate.land.water import distance_to_points

MAX_CROWN_GSD_M = 1.6
"""Pixels wider than this (metres) show a closed canopy, not single crowns."""
_BROADLEAF_KINDS = 3
_CONIFER = 3  # the kind after the broadleaved ones


@dataclass(frozen=True)
class _Trees:
    """Trees (n,): position and row or not, in pixels."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    in_row: Mask
    row: NDArray[np.intp]
    column: NDArray[np.intp]


def plant_trees(rng: Generator, land: LandContext, density: Plane) -> None:
    """Paint crowns where trees stand; gaps in woods show the ground.

    Trees of orchards stand in straight rows. No crown reaches over water, buildings, roads,
    burned land, sand or paddies.

    Args:
        rng: random generator.
        land: the landscape, on whose canvas crowns and their heights are painted.
        density: (size, size) chance of a tree at a pixel, 0-1.
    """
    canvas = land.canvas
    leaves = max(land.greenness, 0.1)
    closed = canvas.mask_of("road", "burned", "sand", "paddy")
    spacing = max(rng.uniform(4, 9), 3.2 * land.gsd_m) / land.gsd_m
    trees = _place_trees(rng, density, canvas.mask_of("orchard"), spacing)
    if trees is None:
        return
    count = trees.y.size
    distance, nearest = distance_to_points(land.size, trees.y, trees.x)
    relative = np.where(trees.in_row, rng.uniform(0.3, 0.42), rng.uniform(0.4, 0.72, count))
    radius = (spacing * relative).astype(np.float32)
    conifer = rng.random(count) < land.vegetation.conifer[trees.row, trees.column]
    radius[conifer] *= 0.8
    height = radius * land.gsd_m * rng.uniform(1.2, 2.5, count).astype(np.float32)
    reach = radius[nearest] * (1 + 0.12 * fractal_noise(rng, land.size, 0.8, 0.05))
    allowed = ~canvas.mask_of("water", "building", "settlement") & ~closed
    woods = canvas.mask_of("tree_cover")
    gap = woods & (distance > reach + max(1.5 / land.gsd_m, 1))
    undergrowth = {"grass_green:1": 0.3 + 0.4 * leaves, "litter:0": 0.3, "soil:0": 0.1}
    canvas.paint(gap, "grassland", undergrowth)
    crown = (distance < reach) & allowed & ~canvas.mask_of("orchard")
    kind = np.where(conifer, _CONIFER, rng.integers(0, _BROADLEAF_KINDS, count))[nearest]
    for number in range(_BROADLEAF_KINDS):
        mix = {
            f"canopy_broadleaf:{number}": max(leaves, 0.08),
            "litter:0": (1 - leaves) * 0.9,
        }
        canvas.paint(crown & (kind == number), "tree_cover", mix)
    needles = {"canopy_conifer:0": 0.9, "litter:0": 0.1}
    canvas.paint(crown & (kind == _CONIFER), "tree_cover", needles)
    fruit = (distance < reach) & canvas.mask_of("orchard")
    fruit_tree = {"canopy_broadleaf:2": max(leaves, 0.1), "litter:0": 1 - leaves}
    canvas.paint(fruit, "orchard", fruit_tree)
    dome = np.sqrt(np.clip(1 - (distance / np.maximum(reach, 1)) ** 2, 0, 1))
    cone = np.clip(1 - distance / np.maximum(reach, 1), 0, 1)
    top = np.where(kind == _CONIFER, height[nearest] * 1.4 * cone, height[nearest] * dome)
    canvas.height_m[crown | fruit] = top[crown | fruit]
    # Leaves scatter little light out of a crown's depth: the ground between crowns is darker.
    canvas.shading *= np.where(woods & ~crown & ~gap, np.float32(0.75), np.float32(1))


def _place_trees(rng: Generator, density: Plane, orchard: Mask, spacing: float) -> _Trees | None:
    """Trees on a grid of ``spacing`` pixels, shifted outside orchards; None: there are none."""
    size = len(density)
    count = int(size / spacing) + 2
    grid = (np.arange(count) - 0.5) * spacing
    shift = rng.uniform(-0.45, 0.45, (2, count, count)) * spacing
    y = (grid[:, None] + shift[0]).ravel()
    x = (grid[None] + shift[1]).ravel()
    row = np.clip(y.astype(int), 0, size - 1)
    column = np.clip(x.astype(int), 0, size - 1)
    in_row = orchard[row, column]
    y = np.where(in_row, np.repeat(grid, count), y)
    x = np.where(in_row, np.tile(grid, count), x)
    chance = np.where(in_row, 0.95, density[row, column])
    grows = rng.random(y.size) < chance
    if not grows.any():
        return None
    return _Trees(y[grows], x[grows], in_row[grows], row[grows], column[grows])
