"""Air between ground and sensor: sky light, haze, the glow of bright surroundings, gas absorption, cirrus.

Single scattering with the approximations usual in correction schemes; Rayleigh optical depth after Hansen & Travis 1974
(doi:10.1007/BF00168069).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum

# Absorption by ozone, oxygen and water vapour: centre and width (nm), optical depth at usual amounts.
_GASES = (
    (600, 70, 0.035), (688, 3, 0.2), (720, 8, 0.12), (761, 3, 0.6), (818, 10, 0.12), (940, 22, 0.6), (1130, 25, 0.8),
    (1380, 35, 6.0), (1870, 50, 6.0), (2010, 20, 0.3), (2060, 20, 0.3), (2480, 60, 0.6),
)  # fmt: skip


@dataclass(frozen=True)
class Air:
    """All (n_wavelengths,): reflectance of the path, two-way transmittance, share of sky light, spherical albedo."""

    path: Spectrum
    through: Spectrum
    sky: Spectrum
    albedo: Spectrum


def air(rng: Generator, sun_zenith: float) -> Air:
    """Draw the air of a scene, from very clear to hazy; ``sun_zenith`` in degrees."""
    um, sun = WAVELENGTHS / 1000, np.cos(np.radians(min(sun_zenith, 80)))
    molecules = 0.008569 * um**-4 * (1 + 0.0113 * um**-2 + 0.00013 * um**-4)
    haze = float(np.exp(rng.uniform(np.log(0.04), np.log(0.5)))) * (um / 0.55) ** -rng.uniform(
        0.4, 1.7
    )
    gases = sum(
        depth * np.exp(-(((WAVELENGTHS - c) / w) ** 2)) for c, w, depth in _GASES
    ) * rng.uniform(0.5, 1.5)
    forward = rng.uniform(0.12, 0.35)
    path = (0.75 * (1 + sun**2) * molecules + forward * haze) / (4 * sun)
    lost = (0.5 * molecules + 0.15 * haze) * (1 / sun + 1)
    beam = np.exp(-(molecules + 0.6 * haze) / sun)
    total = np.exp(-(0.5 * molecules + 0.15 * haze) / sun)
    parts = (path * np.exp(-0.5 * gases), np.exp(-lost - gases * (1 / sun + 1) / 2), 1 - beam / total,
             0.9 * (0.5 * molecules + 0.12 * haze))  # fmt: skip
    return Air(*(part.astype(np.float32) for part in parts))


def glow(
    ground: NDArray[np.float32], strength: NDArray[np.float32], reach: float
) -> NDArray[np.float32]:
    """Ground (C, h, w) with the light of its surroundings scattered into it: ``strength`` (C,), ``reach`` in pixels."""
    size = int(np.clip(2 * reach + 1, 3, min(ground.shape[1:])))
    mean = uniform_filter(ground, (0, size, size), mode="nearest")
    return ground + strength[:, None, None] * (mean - ground)


def sun_irradiance() -> Spectrum:
    """Of the sun above the air, W/m2/um, as a black body of 5772 K at one astronomical unit."""
    metres = WAVELENGTHS * 1e-9
    radiance = 1.191e-16 / metres**5 / (np.exp(0.014388 / (metres * 5772)) - 1)
    return (radiance * np.pi * 2.1635e-5 * 1e-6).astype(
        np.float32
    )  # (radius of the sun / distance)^2; per um
