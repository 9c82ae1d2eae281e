"""Plants as the radiative transfer models PROSPECT-D and 4SAIL see them, through the ``prosail`` package.

Féret et al. 2017 (PROSPECT-D, doi:10.1016/j.rse.2017.03.004), Verhoef et al. 2007 (4SAIL, doi:10.1109/TGRS.2007.895844).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.library import WAVELENGTHS, Spectrum
from spex.errors import MissingExtraError

_ROWS = (WAVELENGTHS - 400).astype(int)

# Leaf layers n, chlorophyll (ug/cm2), brown pigment, water and dry matter (cm, g/cm2), leaf area index, mean leaf angle
# (degrees), and the share of the light that crowns keep for themselves. Water and dry matter are drawn as logarithms.
_PLANTS: Mapping[str, dict[str, tuple[float, float]]] = {
    "canopy_broadleaf": dict(n=(1.3, 2.2), cab=(25, 65), brown=(0, 0.15), cw=(0.007, 0.02), cm=(0.004, 0.013),
                             lai=(2, 6.5), angle=(30, 60), shade=(0.05, 0.4)),
    "canopy_conifer": dict(n=(1.8, 2.8), cab=(30, 65), brown=(0.05, 0.5), cw=(0.012, 0.04), cm=(0.012, 0.03),
                           lai=(1.5, 6), angle=(45, 65), shade=(0.3, 0.65)),
    "shrub": dict(n=(1.5, 2.5), cab=(15, 50), brown=(0.1, 0.9), cw=(0.006, 0.02), cm=(0.006, 0.02),
                  lai=(0.5, 2.8), angle=(35, 65), shade=(0.05, 0.35)),
    "grass_green": dict(n=(1.3, 2.0), cab=(25, 60), brown=(0, 0.4), cw=(0.006, 0.022), cm=(0.003, 0.009),
                        lai=(0.9, 5), angle=(50, 78), shade=(0, 0.1)),
    "grass_dry": dict(n=(1.6, 2.6), cab=(1, 15), brown=(0.5, 1.6), cw=(0.001, 0.006), cm=(0.005, 0.014),
                      lai=(0.5, 3), angle=(50, 75), shade=(0, 0.15)),
    "crop_green": dict(n=(1.2, 2.0), cab=(30, 75), brown=(0, 0.2), cw=(0.008, 0.025), cm=(0.003, 0.009),
                       lai=(0.8, 6.5), angle=(35, 70), shade=(0, 0.15)),
    "crop_ripe": dict(n=(1.7, 2.7), cab=(1, 18), brown=(0.4, 1.6), cw=(0.001, 0.007), cm=(0.004, 0.012),
                      lai=(1, 4), angle=(45, 75), shade=(0, 0.15)),
    "marsh": dict(n=(1.4, 2.3), cab=(12, 50), brown=(0.1, 1.2), cw=(0.006, 0.02), cm=(0.004, 0.012),
                  lai=(0.8, 4.5), angle=(55, 80), shade=(0.05, 0.35)),
}  # fmt: skip
PLANTS = frozenset(_PLANTS)


@cache
def _prosail() -> Any:
    try:
        import prosail
    except ImportError as error:
        raise MissingExtraError("simulated plants need the package prosail: pip install 'spex[sim]'") from error
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
    model, plant = _prosail(), {name: rng.uniform(*bounds) for name, bounds in _PLANTS[kind].items()}
    cw, cm = (np.exp(rng.uniform(*np.log(_PLANTS[kind][name]))) for name in ("cw", "cm"))
    carotenoids = plant["cab"] * rng.uniform(0.15, 0.3) + rng.uniform(0, 4)
    _, leaf, through = model.run_prospect(plant["n"], plant["cab"], carotenoids, plant["brown"], cw, cm)
    ground = np.interp(np.arange(400, 2501), WAVELENGTHS, soil).astype(float)
    if kind == "marsh":
        ground *= rng.uniform(0.1, 0.5)  # wet ground, standing water
    sun, view, across = rng.uniform(20, 60), rng.uniform(0, 15), rng.uniform(0, 180)
    dense, hotspot = plant["lai"], rng.uniform(0.02, 0.3)
    stands = [
        model.run_sail(leaf, through, lai, plant["angle"], hotspot, sun, view, across, rsoil0=ground)
        for lai in (dense, dense * rng.uniform(0.4, 0.8))
    ]
    return (np.stack(stands)[:, _ROWS] * (1 - plant["shade"])).astype(np.float32)
