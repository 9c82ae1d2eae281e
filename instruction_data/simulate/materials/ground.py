"""Soil, sand, rock, snow, ice, burned ground and what people build: modelled or typical spectra."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.materials.canopy import water_absorption
from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum

_KNOTS = (400, 550, 700, 1000, 1650, 2200, 2500)
# Typical reflectance at the knots, and the factor within which brightness is drawn.
_TYPICAL: Mapping[str, tuple[tuple[float, ...], float]] = {
    "soil": ((0.06, 0.12, 0.19, 0.27, 0.36, 0.31, 0.26), 1.8),
    "sand": ((0.14, 0.26, 0.33, 0.39, 0.46, 0.43, 0.37), 1.5),
    "rock": ((0.10, 0.17, 0.21, 0.24, 0.28, 0.25, 0.22), 1.9),
    "roof": ((0.09, 0.14, 0.20, 0.24, 0.26, 0.24, 0.22), 2.0),
    "asphalt": ((0.07, 0.10, 0.12, 0.14, 0.17, 0.16, 0.15), 1.7),
    "concrete": ((0.17, 0.27, 0.32, 0.34, 0.36, 0.33, 0.30), 1.4),
    "paint": ((0.20, 0.30, 0.35, 0.37, 0.38, 0.33, 0.28), 2.2),
    "char": ((0.03, 0.04, 0.055, 0.08, 0.14, 0.18, 0.19), 1.8),
    "ash": ((0.08, 0.11, 0.14, 0.19, 0.27, 0.30, 0.30), 1.6),
    "litter": ((0.06, 0.11, 0.18, 0.32, 0.34, 0.24, 0.18), 1.5),
}
_COLOURFUL = ("paint", "roof")

# Imaginary part of the refractive index of ice (log10) by wavelength in nm, after
# Warren & Brandt 2008, doi:10.1029/2007JD009744.
_ICE_INDEX = np.array([
    (400, -10.6), (450, -10.0), (500, -9.23), (550, -8.64), (600, -8.24), (650, -7.84),
    (700, -7.54), (750, -7.23), (800, -6.87), (850, -6.74), (900, -6.38), (950, -6.22),
    (1000, -5.79), (1030, -5.63), (1080, -5.76), (1100, -5.77), (1150, -5.64), (1200, -5.17),
    (1250, -4.89), (1300, -4.88), (1350, -4.86), (1400, -4.70), (1440, -3.82), (1490, -3.26),
    (1540, -3.34), (1600, -3.55), (1650, -3.63), (1700, -3.73), (1800, -3.85), (1870, -3.84),
    (1900, -3.39), (1950, -2.83), (2000, -2.81), (2060, -2.99), (2130, -3.40), (2200, -3.68),
    (2250, -3.69), (2300, -3.55), (2400, -3.25), (2500, -3.12),
])  # fmt: skip


def draw_variation(rng: Generator, strength: float) -> Spectrum:
    """Draw a factor (n_wavelengths,) around 1 that changes slowly along the spectrum."""
    factor = np.exp(rng.normal(0, strength, len(_KNOTS)))
    return np.interp(WAVELENGTHS, _KNOTS, factor).astype(np.float32)


def draw_typical(rng: Generator, kind: str) -> Spectrum:
    """Draw a spectrum with the typical shape of its kind, varied in brightness and colour."""
    shape, factor = _TYPICAL[kind]
    brightness = np.exp(rng.uniform(-1, 1) * np.log(factor))
    variation = draw_variation(rng, 0.25 if kind in _COLOURFUL else 0.08)
    spectrum = np.interp(WAVELENGTHS, _KNOTS, shape) * brightness * variation
    return np.clip(spectrum, 0.005, 0.95).astype(np.float32)


def moisten(rng: Generator, dry: Spectrum) -> Spectrum:
    """Soil between dry and wet: darker, with the absorption of a water film of up to 0.4 mm."""
    wetness = rng.beta(0.7, 1.2)
    film = np.exp(-water_absorption() * 4e-4 * wetness)
    return (dry * (1 - 0.55 * wetness) * film).astype(np.float32)


def draw_snow(rng: Generator, kind: str) -> Spectrum:
    """Draw snow or bare ice by grain size and impurities, by asymptotic radiative transfer.

    Kokhanovsky & Zege 2004, doi:10.1364/AO.43.001589: reflectance falls as
    exp(-A sqrt(4 pi (chi + M) d / wavelength)), where d is the diameter of the grains.

    Args:
        rng: random generator.
        kind: ``snow`` or ``ice``.
    """
    smallest_mm, largest_mm = (0.1, 2.0) if kind == "snow" else (3.0, 25.0)
    grain_nm = float(np.exp(rng.uniform(np.log(smallest_mm), np.log(largest_mm)))) * 1e6
    ice = 10 ** np.interp(WAVELENGTHS, _ICE_INDEX[:, 0], _ICE_INDEX[:, 1])
    impurities = 10 ** rng.uniform(-9.5, -6.8) * (550 / WAVELENGTHS) ** rng.uniform(0, 3)
    fade = np.exp(-5.5 * np.sqrt(4 * np.pi * (ice + impurities) * grain_nm / WAVELENGTHS))
    return (fade * rng.uniform(0.75, 1.0) + rng.uniform(0.005, 0.03)).astype(np.float32)
