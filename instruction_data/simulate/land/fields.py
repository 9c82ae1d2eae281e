"""Farmland: blocks of parcels along a common direction, each with its crop, stage and crop rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.biomes import Biome
from instruction_data.simulate.land.canvas import SURFACES, Canvas, Mix
from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import Mask, Plane, fractal_noise, upsample
from instruction_data.simulate.land.parcels import STYLES, Parcels, cut_parcels

_TOO_STEEP = -3.0  # suitability under which no parcel is farmed
_BARE, _GREEN, _RIPE, _STUBBLE, _FLOODED, _ORCHARD, _MEADOW = range(7)
_NOT_FARMED = -1


@dataclass(frozen=True)
class Farmland:
    """Farmed land.

    Attributes:
        mask: (size, size) where parcels are farmed.
        edge: (size, size) nearness of the edge of a farmed parcel: 1 at the edge, 0 inside.
    """

    mask: Mask
    edge: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Crops:
    """The looks of parcels, by style number or by pixel.

    Attributes:
        state: bare, green, ripe, ...
        crop: variant of the crop.
        vigour: 0-1, share of ground under living leaves.
        tone: 0-1, chooses between two variants of soil or of ripe crops.
    """

    state: NDArray[np.int8]
    crop: NDArray[np.int8]
    vigour: Plane
    tone: Plane

    def at(self, style: NDArray[np.int32]) -> _Crops:
        """The looks of the parcels with these style numbers."""
        return _Crops(self.state[style], self.crop[style], self.vigour[style], self.tone[style])


def lay_out_fields(rng: Generator, land: LandContext, suitability: Plane, share: float) -> Farmland:
    """Cut the land into parcels and sow the most suitable ones.

    Args:
        rng: random generator.
        land: the landscape, on whose canvas the fields are painted.
        suitability: (size, size) how well land can be farmed, on any scale.
        share: share of the land that is farmed, in whole parcels.
    """
    gsd_m = land.gsd_m
    pattern = str(rng.choice(land.biome.field_patterns))
    parcels = cut_parcels(rng, land, pattern)
    farmed = _most_suitable(parcels, suitability, share)
    looks = _draw_crops(rng, land.biome, land.greenness).at(parcels.style)
    state = looks.state
    vigour = looks.vigour
    if pattern == "pivot":
        outside = np.hypot(parcels.across - 0.5, parcels.along - 0.5) > 0.49
        if rng.random() < 0.6:
            farmed &= ~outside
        state[outside] = np.where(looks.tone < 0.5, _BARE, _MEADOW)[outside]
        vigour[outside] = 0.25 * land.greenness
    patches = fractal_noise(rng, land.terrain.side, 1.2, 0.25) * np.float32(0.07)
    damp = np.float32(0.25) * (land.terrain.moisture - 0.5)
    vigour = vigour + damp + upsample(patches, land.size)
    vigour = np.clip(vigour * _row_shading(rng, parcels, gsd_m, state), 0.02, 1)
    state[~farmed] = _NOT_FARMED
    _paint(land.canvas, _Crops(state, looks.crop, vigour, looks.tone), land.greenness)
    tracks = farmed & (parcels.track_m < max(rng.uniform(1.5, 3), 0.5 * gsd_m))
    if pattern != "pivot":
        margin_m = max(rng.uniform(0.5, 2.5), 0.4 * gsd_m)
        verge = farmed & (parcels.from_edge_m < margin_m)
        verge &= (rng.random(STYLES) < 0.8)[parcels.style]
        grass = {
            "grass_green:0": land.greenness,
            "grass_dry:0": 1 - land.greenness,
            "soil:0": 0.1,
        }
        land.canvas.paint(verge, "grassland", grass)
        track = {"soil:1": 0.6, "sand:0": 0.2, "grass_dry:1": 0.2}
        land.canvas.paint(tracks, "road", track)
    edge = np.clip(1 - parcels.from_edge_m / max(4.0, gsd_m), 0, 1)
    return Farmland(farmed, edge * farmed)


def _most_suitable(parcels: Parcels, suitability: Plane, share: float) -> Mask:
    """Pixels of the parcels whose mean suitability is among the best ``share``."""
    number = parcels.number.ravel()
    count = 1 << 16
    total = np.bincount(number, suitability.ravel(), count)
    mean = total / np.maximum(np.bincount(number, minlength=count), 1)
    least = -np.inf
    if share < 1:
        sample = mean[parcels.number[::4, ::4]]
        least = max(float(np.quantile(sample, 1 - share)), _TOO_STEEP)
    return (mean >= least)[parcels.number]


def _draw_crops(rng: Generator, biome: Biome, greenness: float) -> _Crops:
    """Looks by style number: some crops are up, some are ripe, some land lies bare."""
    growing = float(np.clip(greenness * rng.uniform(0.6, 1.3), 0.1, 0.95))
    weights = np.zeros(7)
    weights[_BARE] = (1 - growing) * 0.5
    weights[_GREEN] = growing
    weights[_RIPE] = (1 - growing) * 0.3
    weights[_STUBBLE] = (1 - growing) * 0.2
    weights[_MEADOW] = 0.12
    weights[_GREEN] += biome.irrigated
    if rng.random() < 0.4:
        weights[_ORCHARD] = biome.orchard * 4
    if biome.rice and rng.random() < 0.8:
        weights[_FLOODED] = biome.rice * rng.uniform(0.1, 1.2)
        weights[_GREEN] = weights[_GREEN] * rng.uniform(0.3, 1.5)
    state = rng.choice(7, STYLES, p=weights / weights.sum()).astype(np.int8)
    common = rng.integers(0, 6, 3)
    crop = rng.choice(common, STYLES, p=[0.5, 0.3, 0.2]).astype(np.int8)
    vigour = rng.beta(3, 1.3, STYLES).astype(np.float32)
    return _Crops(state, crop, vigour, rng.random(STYLES).astype(np.float32))


def _row_shading(
    rng: Generator, parcels: Parcels, gsd_m: float, state: NDArray[np.int8]
) -> Plane | float:
    """Darkening between crop rows and along tramlines, where pixels are fine enough; else 1."""
    spacing_m = rng.choice([0.75, 1.5, 2.2, 3.0])
    tramlines = gsd_m < 1.2 and rng.random() < 0.7
    if gsd_m > spacing_m / 2.2 and not tramlines:
        return 1.0
    u = np.where((rng.random(STYLES) < 0.8)[parcels.style], parcels.u_m, parcels.v_m)
    shading = np.ones(u.shape, np.float32)
    if gsd_m < spacing_m / 2.2:
        depth = np.float32(rng.uniform(0.1, 0.5))
        shading -= depth * (0.5 + 0.5 * np.sin(u * np.float32(2 * np.pi / spacing_m)))
    if tramlines:
        apart_m = np.float32(rng.uniform(12, 28))
        tramline = np.abs(u % apart_m - apart_m / 2) < max(0.35, 0.6 * gsd_m)
        shading[tramline & (state == _GREEN)] *= 0.55
    return shading


def _paint(canvas: Canvas, looks: _Crops, greenness: float) -> None:
    state = looks.state
    vigour = looks.vigour
    soil = {"soil:0": 0.15 + 0.85 * looks.tone, "soil:1": 1 - 0.85 * looks.tone}
    soil_between = {name: share * (1 - vigour) for name, share in soil.items()}
    green = state == _GREEN
    for crop in np.unique(looks.crop[green]):
        crop_mix: Mix = {f"crop_green:{crop}": vigour} | soil_between
        canvas.paint(green & (looks.crop == crop), "cropland", crop_mix)
    canvas.cover[green & (vigour < 0.25)] = SURFACES.index("fallow")
    straw = 0.5 + 0.5 * vigour
    ripe = state == _RIPE
    first = looks.tone < 0.5
    canvas.paint(ripe & first, "cropland", {"crop_ripe:0": straw, "soil:0": 1 - straw})
    canvas.paint(ripe & ~first, "cropland", {"crop_ripe:1": straw, "soil:1": 1 - straw})
    canvas.paint(state == _BARE, "fallow", soil | {"litter:0": 0.15 * vigour})
    canvas.paint(state == _STUBBLE, "fallow", {"crop_ripe:2": 0.4 * straw} | soil_between)
    paddy: Mix = {"water:3": 0.9 - 0.6 * vigour**2, "crop_green:5": vigour**2, "soil:2": 0.1}
    canvas.paint(state == _FLOODED, "paddy", paddy)
    orchard: Mix = {
        "canopy_broadleaf:2": 0.6 * vigour,
        "grass_green:1": 0.2 * greenness,
        "soil:0": 0.3,
    }
    canvas.paint(state == _ORCHARD, "orchard", orchard)
    meadow = {"grass_green:1": vigour * greenness, "grass_dry:1": 1 - vigour * greenness}
    canvas.paint(state == _MEADOW, "grassland", meadow)
