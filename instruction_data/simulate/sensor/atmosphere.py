"""The atmosphere between ground and sensor: skylight, haze, adjacency effect, gas absorption.

Single scattering with the approximations usual in correction schemes. Rayleigh optical depth:
Hansen & Travis 1974, doi:10.1007/BF00168069.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum

# Absorption by ozone, oxygen and water vapour: centre (nm), width (nm), usual optical depth.
_GASES = (
    (600, 70, 0.035),
    (688, 3, 0.2),
    (720, 8, 0.12),
    (761, 3, 0.6),
    (818, 10, 0.12),
    (940, 22, 0.6),
    (1130, 25, 0.8),
    (1380, 35, 6.0),
    (1870, 50, 6.0),
    (2010, 20, 0.3),
    (2060, 20, 0.3),
    (2480, 60, 0.6),
)
_SUN_TEMPERATURE_K = 5772
_SUN_SOLID_ANGLE = 2.1635e-5  # (radius of the sun / distance)^2 at one astronomical unit


@dataclass(frozen=True)
class Atmosphere:
    """Optical properties of the air over a scene; all are (n_wavelengths,).

    Attributes:
        path_reflectance: reflectance that the air adds.
        transmittance: two-way transmittance.
        skylight: share of skylight in the irradiance on the ground.
        spherical_albedo: share of the light from the ground that the air sends back.
    """

    path_reflectance: Spectrum
    transmittance: Spectrum
    skylight: Spectrum
    spherical_albedo: Spectrum


def draw_atmosphere(rng: Generator, sun_zenith_deg: float) -> Atmosphere:
    """Draw the atmosphere of a scene, from very clear to hazy."""
    um = WAVELENGTHS / 1000
    sun = np.cos(np.radians(min(sun_zenith_deg, 80)))
    molecules = 0.008569 * um**-4 * (1 + 0.0113 * um**-2 + 0.00013 * um**-4)
    optical_depth = float(np.exp(rng.uniform(np.log(0.04), np.log(0.5))))
    aerosol = optical_depth * (um / 0.55) ** -rng.uniform(0.4, 1.7)
    lines = [
        depth * np.exp(-(((WAVELENGTHS - centre) / width) ** 2)) for centre, width, depth in _GASES
    ]
    gases = sum(lines) * rng.uniform(0.5, 1.5)
    forward = rng.uniform(0.12, 0.35)
    path = (0.75 * (1 + sun**2) * molecules + forward * aerosol) / (4 * sun)
    path = path * np.exp(-0.5 * gases)
    lost = (0.5 * molecules + 0.15 * aerosol) * (1 / sun + 1)
    direct = np.exp(-(molecules + 0.6 * aerosol) / sun)
    total = np.exp(-(0.5 * molecules + 0.15 * aerosol) / sun)
    transmittance = np.exp(-lost - gases * (1 / sun + 1) / 2)
    spherical_albedo = 0.9 * (0.5 * molecules + 0.12 * aerosol)
    return Atmosphere(
        path_reflectance=path.astype(np.float32),
        transmittance=transmittance.astype(np.float32),
        skylight=(1 - direct / total).astype(np.float32),
        spherical_albedo=spherical_albedo.astype(np.float32),
    )


def add_adjacency(
    ground: NDArray[np.float32], strength: NDArray[np.float32], reach_px: float
) -> NDArray[np.float32]:
    """Adjacency effect: light of the surroundings scattered into every pixel.

    Args:
        ground: (C, h, w) reflectance.
        strength: (C,) share of the light that comes from the surroundings.
        reach_px: distance in pixels from which it comes.
    """
    size = int(np.clip(2 * reach_px + 1, 3, min(ground.shape[1:])))
    mean = uniform_filter(ground, (0, size, size), mode="nearest")
    return ground + strength[:, None, None] * (mean - ground)


def solar_irradiance() -> Spectrum:
    """Irradiance above the atmosphere in W/m2/um: a black body at one astronomical unit."""
    metres = WAVELENGTHS * 1e-9
    radiance = 1.191e-16 / metres**5 / (np.exp(0.014388 / (metres * _SUN_TEMPERATURE_K)) - 1)
    return (radiance * np.pi * _SUN_SOLID_ANGLE * 1e-6).astype(np.float32)
