"""Water by its constituents: chlorophyll, suspended matter, dissolved organic matter, bottom.

Reflectance of shallow water: Lee et al. 1998, doi:10.1364/AO.37.006329. Absorption by
phytoplankton grows as chlorophyll to the power 0.65, as there; its shape is a sum of Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials.canopy import water_absorption
from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum

# Ranges of chlorophyll (mg/m3), suspended matter (g/m3) and dissolved matter (absorption at
# 440 nm, 1/m).
_TYPES = {
    "clear": ((0.1, 5), (0.1, 3), (0.01, 0.3)),
    "turbid": ((1, 20), (8, 200), (0.2, 3)),
    "green": ((10, 80), (2, 25), (0.2, 2)),
    "dark": ((0.5, 10), (0.3, 4), (1, 8)),
}
_TYPE_SHARES = (0.25, 0.4, 0.15, 0.2)
# Centre (nm), width (nm) and relative height of the absorption peaks of pigments.
_PIGMENTS = ((440, 28, 1.0), (490, 25, 0.45), (620, 18, 0.15), (675, 11, 0.65))
_REFRACTIVE_INDEX = 1.34


@dataclass(frozen=True)
class WaterBody:
    """The optics of a water body; all spectra are (n_wavelengths,).

    Attributes:
        deep: reflectance of deep water.
        bottom: reflectance that the bottom adds at depth 0.
        column_attenuation: how the missing part of the water column fades with depth, 1/m.
        bottom_attenuation: how the bottom's signal fades with depth, 1/m.
    """

    deep: Spectrum
    bottom: Spectrum
    column_attenuation: Spectrum
    bottom_attenuation: Spectrum


def draw_water_body(rng: Generator, type_hint: str, bottom: Spectrum) -> WaterBody:
    """Draw a water body.

    Args:
        rng: random generator.
        type_hint: text that may name a type (clear, turbid, green, dark); else the type is drawn.
        bottom: (n_wavelengths,) reflectance of the ground under the water.
    """
    named = [name for name in _TYPES if name in type_hint]
    ranges = _TYPES[named[0] if named else rng.choice(list(_TYPES), p=_TYPE_SHARES)]
    chlorophyll, sediment, dissolved = (
        float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in ranges
    )
    nm = WAVELENGTHS
    peaks = [
        height * np.exp(-0.5 * ((nm - centre) / width) ** 2) for centre, width, height in _PIGMENTS
    ]
    absorption = water_absorption() + 0.06 * chlorophyll**0.65 * np.sum(peaks, axis=0)
    absorption += dissolved * np.exp(-rng.uniform(0.012, 0.019) * (nm - 440))
    absorption += rng.uniform(0.02, 0.06) * sediment * np.exp(-0.0123 * (nm - 440))
    scattering = 0.00144 * (nm / 500) ** -4.32  # back-scatter of pure water, Morel 1974
    particles = rng.uniform(0.008, 0.02) * sediment + 0.002 * chlorophyll**0.62
    scattering += particles * (nm / 555) ** -rng.uniform(0, 1.4)

    attenuation = absorption + scattering
    u = scattering / (absorption + scattering)
    below_surface = (0.084 + 0.170 * u) * u
    sun_zenith = np.radians(rng.uniform(20, 60))
    sun_path = 1 / np.cos(np.arcsin(np.sin(sun_zenith) / _REFRACTIVE_INDEX))
    glint = rng.choice([0.0, 1.0], p=[0.35, 0.65]) * rng.exponential(0.012)
    deep = np.pi * 0.5 * below_surface / (1 - 1.5 * below_surface) + glint + 0.001
    column_attenuation = (sun_path + 1.03 * np.sqrt(1 + 2.4 * u)) * attenuation
    bottom_attenuation = (sun_path + 1.04 * np.sqrt(1 + 5.4 * u)) * attenuation
    return WaterBody(
        deep=deep.astype(np.float32),
        bottom=(0.54 * bottom).astype(np.float32),
        column_attenuation=column_attenuation.astype(np.float32),
        bottom_attenuation=bottom_attenuation.astype(np.float32),
    )


def bottom_contribution(
    body: WaterBody, response: NDArray[np.float32], depth_m: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a shallow bottom adds to the reflectance of deep water, per band: (C, pixels).

    Args:
        body: the water body.
        response: (C, n_wavelengths) spectral response of the bands.
        depth_m: (pixels,) depth.
    """
    deep = (response @ body.deep)[:, None]
    bottom = (response @ body.bottom)[:, None]
    column = (response @ body.column_attenuation)[:, None]
    path = (response @ body.bottom_attenuation)[:, None]
    return bottom * np.exp(-path * depth_m) - deep * np.exp(-column * depth_m)
