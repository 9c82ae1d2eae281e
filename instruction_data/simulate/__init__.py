"""Simulated scenes with exact truth: a landscape of measured spectra as a real sensor's bands and radiometry show it.

Part of the scenes are left as display values (uint8, stretched), as aerial and very fine satellite images usually reach
people. Every class is known: what was not placed is absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from instruction_data.landscape import FINEST_FOR_HOUSES_M, Landscape, Plane, landscape
from instruction_data.sources import Chip, Truth
from spex.errors import RecordError
from spex.records import BandRef
from spex.sensors import Band, Sensor, get_sensor

SIZE = 128
_SENSORS = {
    # key: (weight, pixel widths in metres, share of scenes in display values)
    "sentinel-2a": (5, (10, 20), 0.25), "landsat-8": (2, (30,), 0.2), "hls-l30": (2, (30,), 0), "hls7": (2, (30,), 0),
    "naip": (5, (0.6, 1, 2), 1), "planetscope-4": (2, (3,), 0.3), "planetscope-8": (1, (3,), 0.3),
    "worldview-2": (2, (2,), 0.5),
    "pleiades": (3, (0.7, 2), 0.6), "spot-6": (1, (6,), 0.5), "aviris-ng": (1, (4, 8), 0), "enmap": (1, (30,), 0),
    "prisma": (1, (30,), 0), "emit": (1, (60,), 0),
}  # fmt: skip
_CLASSES = {
    "water": ("water",), "tree_cover": ("tree_cover",), "shrubland": ("shrubland",), "grassland": ("grassland",),
    "cropland": ("cropland",), "wetland": ("wetland",), "building": ("building",), "road": ("road",),
    "built_up": ("building", "road", "paved", "settlement"), "soil": ("soil", "fallow"), "sand": ("sand",),
    "rock": ("rock",),
    "snow_ice": ("snow_ice",), "burned": ("burned",),
}  # fmt: skip


class Library:
    """Measured reflectance spectra by material, on a grid of wavelengths from 400 to 2500 nm."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise RecordError(f"no spectral library at {path}; simulation needs spectra_named/spectra.npz")
        with np.load(path) as main, np.load(path.with_name("spectra_extra_vegetation.npz")) as extra:
            self.wavelengths: NDArray[np.float64] = main["wavelengths_nm"].astype(float)
            parts = [(a["reflectance"], a["class"], a["subclass"], a["names"]) for a in (main, extra)]
        self._spectra, self._classes, self._kinds, self._names = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )

    @cached_property
    def materials(self) -> dict[str, list[NDArray[np.float32]]]:
        """Material to groups of spectra (n, wavelengths); groups are repeats of one kind of surface."""
        marsh = np.char.startswith(self._names, "Marsh_DISP") | np.char.startswith(self._names, "Marsh_PHAU")
        chosen = {
            "water": self._classes == "water", "tree": self._classes == "tree", "shrub": self._classes == "shrub",
            "grass": (self._classes == "grass_crop") & ~marsh, "crop": (self._classes == "grass_crop") & ~marsh,
            "marsh": marsh | (self._classes == "marsh_mixed"), "dry": self._classes == "dry_vegetation",
            "soil": self._classes == "soil", "sand": self._classes == "sand", "rock": self._classes == "rock",
            "roof": (self._classes == "roof") | (self._classes == "other_manmade") | (self._classes == "concrete"),
            "asphalt": self._classes == "asphalt", "concrete": self._classes == "concrete",
            "snow": self._classes == "snow_ice", "char": self._classes == "burned",
        }  # fmt: skip
        found = {}
        for material, rows in chosen.items():
            spectra, kinds = self._spectra[rows], self._kinds[rows]
            kept = self._measured(spectra, material)
            groups = [spectra[kept & (kinds == kind)] for kind in np.unique(kinds[kept])]
            found[material] = [np.stack([self._fill(s, material) for s in group]) for group in groups]
        return found

    def _measured(self, spectra: NDArray[np.float32], material: str) -> NDArray[np.bool_]:
        w = self.wavelengths
        needed = (w >= 450) & (w <= 680)
        if material != "water":
            needed |= (w <= 1300) & (w >= 450) | (w >= 1550) & (w <= 1700) | (w >= 2100) & (w <= 2300)
        return np.asarray(~np.isnan(spectra[:, needed]).any(axis=1))

    def _fill(self, spectrum: NDArray[np.float32], material: str) -> NDArray[np.float32]:
        known = ~np.isnan(spectrum)
        filled: NDArray[np.float64] = np.interp(self.wavelengths, self.wavelengths[known], spectrum[known])
        if material == "water":  # in-situ spectra end in the near infrared, where water turns black
            beyond = np.maximum(self.wavelengths - max(self.wavelengths[known][-1], 700.0), 0)
            filled = filled * np.exp(-beyond / 60)
        return np.clip(filled, 0, 1.2).astype(np.float32)

    def draw(self, rng: Generator, material: str) -> NDArray[np.float32]:
        """A spectrum of the material, every kind of surface equally likely."""
        groups = self.materials[material]
        group = groups[rng.integers(len(groups))]
        spectrum: NDArray[np.float32] = group[rng.integers(len(group))]
        return spectrum


def simulated_chips(spectra: Path, numbers: Sequence[int], seed: int) -> Iterator[Chip]:
    """Simulated scenes, each a function of ``seed`` and its number alone.

    Raises:
        RecordError: the spectral library is missing.
    """
    library = Library(spectra)
    for number in numbers:
        yield simulate(np.random.default_rng([seed, number]), library, f"simulated_{number:05d}")


def simulate(rng: Generator, library: Library, name: str) -> Chip:
    """One simulated scene of ``SIZE`` x ``SIZE`` pixels."""
    weights = np.array([weight for weight, _, _ in _SENSORS.values()], float)
    key = str(rng.choice(list(_SENSORS), p=weights / weights.sum()))
    _, widths, display_share = _SENSORS[key]
    gsd_m = float(rng.choice(widths))
    sensor, display = get_sensor(key), bool(rng.random() < display_share)
    land = landscape(rng, gsd_m / 2, 2 * SIZE)
    bands = _choose_bands(rng, sensor)
    reflectance = _observe(rng, land, library, bands)
    values, scale = _display(rng, reflectance, bands) if display else _calibrated(rng, reflectance, bands)
    return Chip(
        id=name, place=name, source="simulated", split="train", sensor=key, values=values, gsd_m=gsd_m, scale=scale,
        bands=tuple(BandRef(name=b.name, wavelength_nm=b.wavelength_nm, fwhm_nm=b.fwhm_nm) for b in bands),
        level="uncalibrated" if display else "surface", truth=_truth(land, gsd_m), labels="simulated, exact",
        extra={"scene": "landscape of measured spectra through the sensor's bands"},
    )  # fmt: skip


def _choose_bands(rng: Generator, sensor: Sensor) -> list[Band]:
    usable = [
        b for b in sensor.bands
        if b.wavelength_nm and b.fwhm_nm and 400 <= b.wavelength_nm <= 2480 and b.name not in sensor.bad
        and not 1340 <= b.wavelength_nm <= 1460 and not 1790 <= b.wavelength_nm <= 1980
    ]  # fmt: skip
    if len(usable) > 20:
        limit = rng.choice([1000, 2500], p=[0.25, 0.75])
        usable = [b for b in usable if b.wavelength_nm and b.wavelength_nm <= limit]
        kept = np.sort(rng.permutation(len(usable))[: rng.integers(60, 201)])
        return [usable[i] for i in kept]
    if len(usable) > 5 and rng.random() < 0.4:
        near = (485, 560, 660, 840, 1610, 2200)[: rng.choice([4, 6])]
        names = {min(usable, key=lambda b: abs((b.wavelength_nm or 0) - w)).name for w in near}
        return [b for b in usable if b.name in names]
    return usable


def _observe(rng: Generator, land: Landscape, library: Library, bands: Sequence[Band]) -> NDArray[np.float32]:
    """Reflectance (C, SIZE, SIZE) at the ground and the clouds, sub-pixel mixed."""
    centres, widths = (np.array([getattr(b, field) for b in bands], float) for field in ("wavelength_nm", "fwhm_nm"))
    response = np.exp(-4 * np.log(2) * ((library.wavelengths - centres[:, None]) / np.maximum(widths, 6)[:, None]) ** 2)
    response /= response.sum(axis=1, keepdims=True)
    members = np.stack([_member(rng, library, material) for material in land.materials])
    shares = np.stack([_halve(plane) for plane in land.materials.values()])
    seen = np.einsum("ck,khw->chw", (response @ members.T).astype(np.float32), shares)
    if land.cloud is not None and land.shadow is not None:
        cloud, shadow = _halve(land.cloud), _halve(land.shadow)
        blueness = np.clip((900 - centres) / 500, 0, 1).astype(np.float32)
        lit = 1 - shadow * (rng.uniform(0.55, 0.8) - 0.15 * blueness[:, None, None])
        bright = rng.uniform(0.45, 0.85) * np.where(centres > 1400, rng.uniform(0.6, 0.9), 1.0)
        seen = seen * lit * (1 - cloud) + cloud * (0.7 + 0.3 * cloud) * bright[:, None, None].astype(np.float32)
    blur = rng.uniform(0.2, 0.6)
    return np.stack([gaussian_filter(plane, blur) for plane in seen]).astype(np.float32)


def _member(rng: Generator, library: Library, material: str) -> NDArray[np.float32]:
    if material == "glint":
        return np.ones_like(library.wavelengths, dtype=np.float32)
    return library.draw(rng, material.partition(":")[0]) * rng.uniform(0.85, 1.15)


def _halve(plane: Plane) -> Plane:
    height, width = plane.shape
    halved: Plane = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32)
    return halved


def _haze(rng: Generator, bands: Sequence[Band], most: float) -> NDArray[np.float32]:
    centres = np.array([b.wavelength_nm for b in bands], float)
    return (rng.uniform(0, most) * (450 / centres) ** rng.uniform(1.5, 4)).astype(np.float32)[:, None, None]


def _noisy(rng: Generator, values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return values + rng.standard_normal(values.shape, dtype=np.float32) * sigma


def _calibrated(
    rng: Generator, reflectance: NDArray[np.float32], bands: Sequence[Band]
) -> tuple[NDArray[np.int16], float]:
    gain = rng.normal(1, 0.03, (len(bands), 1, 1)).astype(np.float32) * rng.uniform(0.9, 1.1)
    values = _noisy(rng, reflectance * gain + _haze(rng, bands, 0.03), rng.uniform(0.001, 0.006))
    return np.clip(np.rint(values * 1e4), -2000, 16000).astype(np.int16), 1e-4


def _display(
    rng: Generator, reflectance: NDArray[np.float32], bands: Sequence[Band]
) -> tuple[NDArray[np.uint8], float]:
    """Digital numbers for the eye: haze, gain and offset per band, a stretch (joint or per band), gamma, noise."""
    values = _noisy(rng, reflectance + _haze(rng, bands, 0.15), rng.uniform(0.001, 0.006))
    axis = (1, 2) if rng.random() < 0.6 else None
    low = np.quantile(values, rng.uniform(0, 0.02), axis=axis, keepdims=True) * rng.uniform(0, 1)
    high = np.quantile(values, rng.uniform(0.97, 1.0), axis=axis, keepdims=True) * rng.uniform(1, 1.4)
    # A scene of one surface has hardly any range of its own; real stretches are set on larger areas.
    unit = (values - low) / np.maximum(high - low, 0.12)
    gain, offset = (rng.normal(m, s, (len(bands), 1, 1)) for m, s in ((1, 0.1), (0, 0.03)))
    unit = np.clip(unit * gain + offset, 0, 1) ** rng.uniform(0.6, 1.2)
    return np.rint(unit * 255).astype(np.uint8), 1 / 255


def _truth(land: Landscape, gsd_m: float) -> Truth:
    truth: Truth = {}
    share = {name: _halve(land.is_(*surfaces).astype(np.float32)) for name, surfaces in _CLASSES.items()}
    nothing = np.zeros((SIZE, SIZE), bool)
    for name, part in share.items():
        truth[name] = part > 0.5, part == 0.5
    # A field without plants is soil to the eye and cropland on the map; cropland and bare ground stay open there.
    fallow = _halve(land.is_("fallow").astype(np.float32)) > 0
    truth["cropland"] = truth["cropland"][0], truth["cropland"][1] | fallow
    if gsd_m > FINEST_FOR_HOUSES_M:
        for name in ("building", "road"):
            truth[name] = nothing, share["built_up"] > 0
    if land.cloud is None or land.shadow is None:
        return truth | {"cloud": (nothing, nothing), "cloud_shadow": (nothing, nothing)}
    cloud, shadow = _halve(land.cloud), _halve(land.shadow)
    hidden, veiled = cloud > 0.6, (cloud > 0.1) & (cloud <= 0.6) | (shadow > 0.1)
    truth = {name: (mask & ~hidden, unknown & ~hidden | veiled) for name, (mask, unknown) in truth.items()}
    truth["cloud"] = hidden, (cloud > 0.15) & ~hidden
    truth["cloud_shadow"] = shadow > 0.5, (shadow > 0.15) & (shadow <= 0.5) | (cloud > 0.15) & ~hidden
    return truth
