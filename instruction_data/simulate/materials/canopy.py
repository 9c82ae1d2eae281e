"""Plants as the radiative transfer models PROSPECT-D and 4SAIL see them, through the ``prosail`` package.

PROSPECT-D: Féret et al. 2017, doi:10.1016/j.rse.2017.03.004; 4SAIL: Verhoef et al. 2007, doi:10.1109/TGRS.2007.895844.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum
from spex.errors import MissingExtraError

_ROWS = (WAVELENGTHS - 400).astype(int)


class _Plant(NamedTuple):
    """Ranges of leaf and stand; ``shade``: the share of the light that crowns keep for themselves."""

    layers: tuple[float, float]
    chlorophyll: tuple[float, float]  # ug/cm2
    brown: tuple[float, float]
    water: tuple[float, float]  # cm
    matter: tuple[float, float]  # g/cm2
    leaf_area: tuple[float, float]
    angle: tuple[float, float]  # mean inclination of leaves, degrees
    shade: tuple[float, float]


_PLANTS = {
    "canopy_broadleaf": _Plant(
        (1.3, 2.2),
        (25, 65),
        (0, 0.2),
        (0.007, 0.02),
        (0.004, 0.014),
        (0.9, 6),
        (30, 65),
        (0.1, 0.5),
    ),
    "canopy_conifer": _Plant(
        (1.8, 2.8),
        (30, 65),
        (0, 0.25),
        (0.012, 0.04),
        (0.012, 0.03),
        (1.5, 6),
        (45, 65),
        (0.3, 0.65),
    ),
    "shrub": _Plant(
        (1.5, 2.5),
        (15, 50),
        (0, 0.4),
        (0.006, 0.02),
        (0.006, 0.02),
        (0.3, 2.5),
        (35, 65),
        (0, 0.25),
    ),
    "grass_green": _Plant(
        (1.3, 2.0),
        (25, 60),
        (0, 0.15),
        (0.006, 0.022),
        (0.003, 0.009),
        (0.9, 5),
        (50, 78),
        (0, 0.1),
    ),
    "grass_dry": _Plant(
        (1.6, 2.6),
        (1, 15),
        (0.1, 0.7),
        (0.001, 0.006),
        (0.005, 0.014),
        (0.5, 3),
        (50, 75),
        (0, 0.15),
    ),
    "crop_green": _Plant(
        (1.2, 2.0),
        (30, 75),
        (0, 0.2),
        (0.008, 0.025),
        (0.003, 0.009),
        (0.8, 6.5),
        (35, 70),
        (0, 0.15),
    ),
    "crop_ripe": _Plant(
        (1.7, 2.7), (1, 18), (0.1, 0.7), (0.001, 0.007), (0.004, 0.012), (1, 4), (45, 75), (0, 0.15)
    ),
    "marsh": _Plant(
        (1.4, 2.3),
        (12, 50),
        (0, 0.5),
        (0.006, 0.02),
        (0.004, 0.012),
        (0.8, 4.5),
        (55, 80),
        (0.05, 0.35),
    ),
}
PLANTS = frozenset(_PLANTS)


@cache
def _prosail() -> Any:
    try:
        import prosail
    except ImportError as error:
        raise MissingExtraError(
            "simulated plants need the package prosail: pip install 'spex[sim]'"
        ) from error
    return prosail


def water_absorption() -> NDArray[np.float64]:
    """Absorption of pure water, 1/m, on ``WAVELENGTHS``; the coefficients that PROSPECT-D uses for leaf water."""
    return _prosail().spectral_lib.prospectd.kw[_ROWS] * 100.0


def canopy(rng: Generator, kind: str, soil: Spectrum) -> NDArray[np.float32]:
    """Two reflectance spectra (2, n_wavelengths) of one stand: as it is, and where it is sparser.

    Args:
        rng: source of the plant's parameters.
        kind: one of ``PLANTS``.
        soil: reflectance of the ground under the plants.
    """
    model, plant = _prosail(), _PLANTS[kind]
    chlorophyll, water, matter = (
        rng.uniform(*plant.chlorophyll),
        _even(rng, plant.water),
        _even(rng, plant.matter),
    )
    carotenoids = chlorophyll * rng.uniform(0.15, 0.3) + rng.uniform(0, 4)
    brown = rng.uniform(*plant.brown)
    _, leaf, through = model.run_prospect(
        rng.uniform(*plant.layers), chlorophyll, carotenoids, brown, water, matter
    )
    ground = np.interp(np.arange(400, 2501), WAVELENGTHS, soil).astype(float)
    if kind == "marsh":
        ground *= rng.uniform(0.1, 0.5)  # wet ground, standing water
    sun, view, across = rng.uniform(20, 60), rng.uniform(0, 15), rng.uniform(0, 180)
    dense, angle, hotspot = (
        rng.uniform(*plant.leaf_area),
        rng.uniform(*plant.angle),
        rng.uniform(0.02, 0.3),
    )
    stands = [
        model.run_sail(leaf, through, lai, angle, hotspot, sun, view, across, rsoil0=ground)
        for lai in (dense, dense * rng.uniform(0.4, 0.8))
    ]
    return (np.stack(stands)[:, _ROWS] * (1 - rng.uniform(*plant.shade))).astype(np.float32)


def _even(rng: Generator, bounds: tuple[float, float]) -> float:
    """Evenly over the logarithm."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
