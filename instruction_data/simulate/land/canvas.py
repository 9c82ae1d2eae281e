"""The land while it is being painted: layers of surfaces, each a mix of materials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from instruction_data.simulate.land.noise import Mask, Plane

SURFACES = (
    "water",
    "tree_cover",
    "shrubland",
    "grassland",
    "cropland",
    "fallow",
    "paddy",
    "orchard",
    "wetland",
    "building",
    "road",
    "paved",
    "settlement",
    "soil",
    "sand",
    "rock",
    "snow_ice",
    "burned",
)
"""``fallow``: a field without plants; ``paddy``: a field under water; ``orchard``: rows of trees;
``paved``: neither road nor building; ``settlement``: houses finer than a pixel."""
Mix = Mapping[str, "float | Plane"]
"""Shares of materials, each a number or a plane."""


def surface_mask(cover: NDArray[np.uint8], *surfaces: str) -> Mask:
    """Where the cover (an index into ``SURFACES``) is one of ``surfaces``."""
    return reduce(np.logical_or, [cover == np.uint8(SURFACES.index(name)) for name in surfaces])


class Canvas:
    """Surfaces painted over one another; their materials are mixed once, at the end.

    Attributes:
        cover: (size, size) the topmost surface, an index into ``SURFACES``.
        height_m: (size, size) height of houses and crowns above the ground.
        shading: (size, size) factor on the light of a pixel, 1 where nothing darkens it.
    """

    def __init__(self, size: int) -> None:
        self.cover = np.zeros((size, size), np.uint8)
        self.height_m = np.zeros((size, size), np.float32)
        self.shading = np.ones((size, size), np.float32)
        self._layer = np.zeros((size, size), np.uint8)
        self._mixes: list[Mix] = []
        self._veils: list[tuple[Plane, Mix]] = []

    @property
    def size(self) -> int:
        """Pixels a side."""
        return len(self.cover)

    def mask_of(self, *surfaces: str) -> Mask:
        """Where the topmost surface is one of ``surfaces``."""
        return surface_mask(self.cover, *surfaces)

    def paint(self, where: Mask, surface: str, mix: Mix) -> None:
        """Put ``surface``, a mix of materials, over whatever lay there."""
        self._mixes.append(mix)
        np.copyto(self.cover, np.uint8(SURFACES.index(surface)), where=where)
        np.copyto(self._layer, np.uint8(len(self._mixes)), where=where)
        for opacity, _ in self._veils:
            opacity[where] = 0

    def veil(self, opacity: Plane, surface: str, mix: Mix) -> None:
        """Lay ``surface`` over the land with an ``opacity`` of 0-1; above 0.5 it is the cover."""
        self._veils.append((opacity, mix))
        np.copyto(self.cover, np.uint8(SURFACES.index(surface)), where=opacity > 0.5)

    def materials(self) -> dict[str, Plane]:
        """The share of every material (size, size); they sum to 1 in every pixel."""
        shares: dict[str, Plane] = {}
        layers = self._layer.ravel()
        order = np.argsort(layers, kind="stable")
        ends = np.searchsorted(layers[order], np.arange(len(self._mixes) + 2))
        for number, mix in enumerate(self._mixes, start=1):
            pixels = order[ends[number] : ends[number + 1]]
            if pixels.size:
                self._add(shares, mix, pixels)
        for opacity, mix in self._veils:
            for plane in shares.values():
                plane *= 1 - opacity
            pixels = np.flatnonzero(opacity)
            self._add(shares, mix, pixels, opacity.ravel()[pixels])
        return shares

    def _add(
        self,
        shares: dict[str, Plane],
        mix: Mix,
        pixels: NDArray[np.intp],
        opacity: Plane | None = None,
    ) -> None:
        """Add a mix at flat ``pixels``; without ``opacity`` it is the only layer there."""
        parts = {name: _at_pixels(share, pixels) for name, share in mix.items()}
        total = np.maximum(sum(parts.values()), 1e-6)
        for name, part in parts.items():
            if name not in shares:
                shares[name] = np.zeros(self.cover.shape, np.float32)
            if opacity is None:
                shares[name].ravel()[pixels] = part / total
            else:
                shares[name].ravel()[pixels] += part / total * opacity


def _at_pixels(share: float | Plane, pixels: NDArray[np.intp]) -> Plane | np.float32:
    if isinstance(share, np.ndarray):
        return np.maximum(share.ravel()[pixels], 0)
    return np.float32(share)
