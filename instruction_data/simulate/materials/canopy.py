"""Canopy reflectance by the radiative transfer models PROSPECT-D and 4SAIL (package ``prosail``).

PROSPECT-D: Féret et al. 2017, doi:10.1016/j.rse.2017.03.004.
4SAIL: Verhoef et al. 2007, doi:10.1109/TGRS.2007.895844.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials.library import WAVELENGTHS, Spectrum
from spex.errors import MissingExtraError

_MODEL_WAVELENGTHS = np.arange(400, 2501)
_ROWS = (WAVELENGTHS - 400).astype(int)

Range = tuple[float, float]


@dataclass(frozen=True)
class _PlantTraits:
    """Least and largest value of each trait of leaves and stands.

    Args:
        leaf_structure: layers of a leaf (N of PROSPECT).
        chlorophyll: in ug/cm2.
        brown_pigment: in arbitrary units.
        leaf_water_cm: equivalent water thickness.
        dry_matter: in g/cm2.
        leaf_area_index: leaf area over ground area.
        leaf_angle_deg: mean inclination of the leaves.
        crown_shade: share of the light that crowns keep for themselves.
    """

    leaf_structure: Range
    chlorophyll: Range
    brown_pigment: Range
    leaf_water_cm: Range
    dry_matter: Range
    leaf_area_index: Range
    leaf_angle_deg: Range
    crown_shade: Range


_TRAITS = {
    "canopy_broadleaf": _PlantTraits(
        leaf_structure=(1.3, 2.2),
        chlorophyll=(25, 65),
        brown_pigment=(0, 0.2),
        leaf_water_cm=(0.007, 0.02),
        dry_matter=(0.004, 0.014),
        leaf_area_index=(0.9, 6),
        leaf_angle_deg=(30, 65),
        crown_shade=(0.1, 0.5),
    ),
    "canopy_conifer": _PlantTraits(
        leaf_structure=(1.8, 2.8),
        chlorophyll=(30, 65),
        brown_pigment=(0, 0.25),
        leaf_water_cm=(0.012, 0.04),
        dry_matter=(0.012, 0.03),
        leaf_area_index=(1.5, 6),
        leaf_angle_deg=(45, 65),
        crown_shade=(0.3, 0.65),
    ),
    "shrub": _PlantTraits(
        leaf_structure=(1.5, 2.5),
        chlorophyll=(15, 50),
        brown_pigment=(0, 0.4),
        leaf_water_cm=(0.006, 0.02),
        dry_matter=(0.006, 0.02),
        leaf_area_index=(0.3, 2.5),
        leaf_angle_deg=(35, 65),
        crown_shade=(0, 0.25),
    ),
    "grass_green": _PlantTraits(
        leaf_structure=(1.3, 2.0),
        chlorophyll=(25, 60),
        brown_pigment=(0, 0.15),
        leaf_water_cm=(0.006, 0.022),
        dry_matter=(0.003, 0.009),
        leaf_area_index=(0.9, 5),
        leaf_angle_deg=(50, 78),
        crown_shade=(0, 0.1),
    ),
    "grass_dry": _PlantTraits(
        leaf_structure=(1.6, 2.6),
        chlorophyll=(1, 15),
        brown_pigment=(0.1, 0.7),
        leaf_water_cm=(0.001, 0.006),
        dry_matter=(0.005, 0.014),
        leaf_area_index=(0.5, 3),
        leaf_angle_deg=(50, 75),
        crown_shade=(0, 0.15),
    ),
    "crop_green": _PlantTraits(
        leaf_structure=(1.2, 2.0),
        chlorophyll=(30, 75),
        brown_pigment=(0, 0.2),
        leaf_water_cm=(0.008, 0.025),
        dry_matter=(0.003, 0.009),
        leaf_area_index=(0.8, 6.5),
        leaf_angle_deg=(35, 70),
        crown_shade=(0, 0.15),
    ),
    "crop_ripe": _PlantTraits(
        leaf_structure=(1.7, 2.7),
        chlorophyll=(1, 18),
        brown_pigment=(0.1, 0.7),
        leaf_water_cm=(0.001, 0.007),
        dry_matter=(0.004, 0.012),
        leaf_area_index=(1, 4),
        leaf_angle_deg=(45, 75),
        crown_shade=(0, 0.15),
    ),
    "marsh": _PlantTraits(
        leaf_structure=(1.4, 2.3),
        chlorophyll=(12, 50),
        brown_pigment=(0, 0.5),
        leaf_water_cm=(0.006, 0.02),
        dry_matter=(0.004, 0.012),
        leaf_area_index=(0.8, 4.5),
        leaf_angle_deg=(55, 80),
        crown_shade=(0.05, 0.35),
    ),
}
PLANTS = frozenset(_TRAITS)
"""Kinds of material that are plants."""


@cache
def _prosail() -> Any:
    try:
        import prosail  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "simulated plants require the package prosail: pip install 'spex[sim]'"
        ) from error
    return prosail


def water_absorption() -> NDArray[np.float64]:
    """Absorption of pure water in 1/m on ``WAVELENGTHS``, as PROSPECT-D uses it for leaf water."""
    return _prosail().spectral_lib.prospectd.kw[_ROWS] * 100.0


def draw_canopy(rng: Generator, kind: str, soil: Spectrum) -> NDArray[np.float32]:
    """Draw two reflectance spectra (2, n_wavelengths) of one stand: dense, and sparser.

    Args:
        rng: random generator.
        kind: one of ``PLANTS``.
        soil: (n_wavelengths,) reflectance of the ground under the plants.
    """
    model = _prosail()
    traits = _TRAITS[kind]
    chlorophyll = rng.uniform(*traits.chlorophyll)
    water_cm = _log_uniform(rng, traits.leaf_water_cm)
    dry_matter = _log_uniform(rng, traits.dry_matter)
    carotenoids = chlorophyll * rng.uniform(0.15, 0.3) + rng.uniform(0, 4)
    brown_pigment = rng.uniform(*traits.brown_pigment)
    structure = rng.uniform(*traits.leaf_structure)
    _, leaf_reflectance, leaf_transmittance = model.run_prospect(
        structure, chlorophyll, carotenoids, brown_pigment, water_cm, dry_matter
    )
    ground = np.interp(_MODEL_WAVELENGTHS, WAVELENGTHS, soil).astype(float)
    if kind == "marsh":
        ground *= rng.uniform(0.1, 0.5)  # wet ground, standing water
    sun_zenith = rng.uniform(20, 60)
    view_zenith = rng.uniform(0, 15)
    relative_azimuth = rng.uniform(0, 180)
    dense = rng.uniform(*traits.leaf_area_index)
    leaf_angle = rng.uniform(*traits.leaf_angle_deg)
    hotspot = rng.uniform(0.02, 0.3)
    sparse = dense * rng.uniform(0.4, 0.8)
    stands = [
        model.run_sail(
            leaf_reflectance,
            leaf_transmittance,
            leaf_area_index,
            leaf_angle,
            hotspot,
            sun_zenith,
            view_zenith,
            relative_azimuth,
            rsoil0=ground,
        )
        for leaf_area_index in (dense, sparse)
    ]
    lit_share = 1 - rng.uniform(*traits.crown_shade)
    return (np.stack(stands)[:, _ROWS] * lit_share).astype(np.float32)


def _log_uniform(rng: Generator, bounds: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))
