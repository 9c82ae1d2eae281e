"""Water by its constituents: chlorophyll, suspended matter, dissolved organic matter, depth and bottom.

Remote-sensing reflectance of shallow water after Lee et al. 1998 (doi:10.1364/AO.37.006329); phytoplankton absorption
grows as chlorophyll to the power 0.65 as there, here with a sum of Gaussians as its shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials.canopy import water_absorption
from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum

# Ranges of chlorophyll (mg/m3), suspended matter (g/m3) and dissolved matter (absorption at 440 nm, 1/m).
_TYPES = {
    "clear": ((0.1, 5), (0.1, 3), (0.01, 0.3)),
    "turbid": ((1, 20), (8, 200), (0.2, 3)),
    "green": ((10, 80), (2, 25), (0.2, 2)),
    "dark": ((0.5, 10), (0.3, 4), (1, 8)),
}
_OFTEN = (0.25, 0.4, 0.15, 0.2)
_PIGMENTS = (
    (440, 28, 1.0),
    (490, 25, 0.45),
    (620, 18, 0.15),
    (675, 11, 0.65),
)  # centre, width nm, height


@dataclass(frozen=True)
class WaterBody:
    """Reflectance of deep water and of the bottom at depth 0, how both fade with depth (1/m); all (n_wavelengths,)."""

    deep: Spectrum
    bottom: Spectrum
    column: Spectrum
    path: Spectrum


def water_body(rng: Generator, hint: str, bottom: Spectrum) -> WaterBody:
    """Draw a water body.

    Args:
        rng: source of its constituents.
        hint: text that may name a type: clear, turbid, green, dark; any other: drawn.
        bottom: reflectance of the ground under the water.
    """
    named = [kind for kind in _TYPES if kind in hint]
    ranges = _TYPES[named[0] if named else rng.choice(list(_TYPES), p=_OFTEN)]
    chlorophyll, matter, dissolved = (float(np.exp(rng.uniform(*np.log(r)))) for r in ranges)
    nm, pure = WAVELENGTHS, water_absorption()

    shape = np.sum([h * np.exp(-0.5 * ((nm - c) / w) ** 2) for c, w, h in _PIGMENTS], axis=0)
    absorbed = pure + 0.06 * chlorophyll**0.65 * shape
    absorbed += dissolved * np.exp(-rng.uniform(0.012, 0.019) * (nm - 440))
    absorbed += rng.uniform(0.02, 0.06) * matter * np.exp(-0.0123 * (nm - 440))
    scattered = 0.00144 * (nm / 500) ** -4.32  # back-scatter of pure water, Morel 1974
    scattered += (rng.uniform(0.008, 0.02) * matter + 0.002 * chlorophyll**0.62) * (
        nm / 555
    ) ** -rng.uniform(0, 1.4)

    total, u = absorbed + scattered, scattered / (absorbed + scattered)
    below = (0.084 + 0.170 * u) * u
    sun = 1 / np.cos(np.arcsin(np.sin(np.radians(rng.uniform(20, 60))) / 1.34))
    glint = rng.choice([0.0, 1.0], p=[0.35, 0.65]) * rng.exponential(0.012)
    return WaterBody(
        deep=(np.pi * 0.5 * below / (1 - 1.5 * below) + glint + 0.001).astype(np.float32),
        bottom=(0.54 * bottom).astype(np.float32),
        column=((sun + 1.03 * np.sqrt(1 + 2.4 * u)) * total).astype(np.float32),
        path=((sun + 1.04 * np.sqrt(1 + 5.4 * u)) * total).astype(np.float32),
    )


def shallow(
    body: WaterBody, response: NDArray[np.float32], depth_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a shallow bottom adds to the reflectance of deep water, per band of ``response`` (C, n): (C, pixels)."""
    deep, bottom, column, path = (
        response @ s for s in (body.deep, body.bottom, body.column, body.path)
    )
    seen = bottom[:, None] * np.exp(-path[:, None] * depth_m)
    return seen - deep[:, None] * np.exp(-column[:, None] * depth_m)
