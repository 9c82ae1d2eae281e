"""The land while it is being painted: layers of surfaces, each a mix of materials, and what stands on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from instruction_data.simulate.land.noise import Mask, Plane

SURFACES = (
    "water", "tree_cover", "shrubland", "grassland", "cropland", "fallow", "paddy", "orchard", "wetland", "building",
    "road", "paved", "settlement", "soil", "sand", "rock", "snow_ice", "burned",
)  # fmt: skip
"""``fallow``: a field without plants; ``paddy``: a field under water; ``orchard``: rows of trees; ``paved``: neither
road nor building; ``settlement``: houses finer than a pixel."""
Mix = Mapping[str, "float | Plane"]


def where_is(cover: NDArray[np.uint8], *surfaces: str) -> Mask:
    """Where one of ``surfaces`` is the cover."""
    return reduce(np.logical_or, [cover == np.uint8(SURFACES.index(name)) for name in surfaces])


class Canvas:
    """Surfaces painted over one another; materials are mixed once, at the end."""

    def __init__(self, size: int) -> None:
        self.cover = np.zeros((size, size), np.uint8)
        self.height_m = np.zeros((size, size), np.float32)
        self.light = np.ones((size, size), np.float32)
        self._layer = np.zeros((size, size), np.uint8)
        self._mixes: list[Mix] = []
        self._veils: list[tuple[Plane, Mix]] = []

    def is_(self, *surfaces: str) -> Mask:
        """Where one of ``surfaces`` lies."""
        return where_is(self.cover, *surfaces)

    def paint(self, where: Mask, surface: str, mix: Mix) -> None:
        """Put ``surface``, shares of materials (numbers or whole planes), over whatever lay there."""
        self._mixes.append(mix)
        np.copyto(self.cover, np.uint8(SURFACES.index(surface)), where=where)
        np.copyto(self._layer, np.uint8(len(self._mixes)), where=where)
        for opacity, _ in self._veils:
            opacity[where] = 0

    def veil(self, opacity: Plane, surface: str, mix: Mix) -> None:
        """Lay ``surface`` over the land, seen by its ``opacity``; it is the cover where that is over half."""
        self._veils.append((opacity, mix))
        np.copyto(self.cover, np.uint8(SURFACES.index(surface)), where=opacity > 0.5)

    def materials(self) -> dict[str, Plane]:
        """The share of every material, summing to 1 in every pixel."""
        shares: dict[str, Plane] = {}
        flat = self._layer.ravel()
        order = np.argsort(flat, kind="stable")
        ends = np.searchsorted(flat[order], np.arange(len(self._mixes) + 2))
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
        self, shares: dict[str, Plane], mix: Mix, pixels: np.ndarray, weight: Plane | None = None
    ) -> None:
        parts = {
            name: np.maximum(share.ravel()[pixels], 0)
            if isinstance(share, np.ndarray)
            else np.float32(share)
            for name, share in mix.items()
        }
        total = np.maximum(sum(parts.values()), 1e-6)
        for name, part in parts.items():
            if name not in shares:
                shares[name] = np.zeros(self.cover.shape, np.float32)
            if weight is None:  # one layer a pixel
                shares[name].ravel()[pixels] = part / total
            else:
                shares[name].ravel()[pixels] += part / total * weight
