"""Spectra of the materials of a landscape: modelled, or measured where a library has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials import ground
from instruction_data.simulate.materials.canopy import PLANTS, draw_canopy
from instruction_data.simulate.materials.library import SpectralLibrary, Spectrum
from instruction_data.simulate.materials.water_optics import WaterBody, draw_water_body

# How often a measured spectrum is used where the library has some; 1 for all other kinds. A leaf
# measured in the laboratory is no canopy.
_MEASURED_SHARES = dict.fromkeys(PLANTS, 0.15) | {
    "water": 0.25,
    "snow": 0.3,
    "ice": 0.3,
    "marsh": 0.4,
}
# Share of straw, stalks and twigs, which the leaf model does not know.
_STRAW_SHARES = {"grass_dry": (0.4, 0.9), "crop_ripe": (0.4, 0.9), "shrub": (0.0, 0.6)}
_BUILT = frozenset({"roof", "paint", "asphalt", "concrete"})


class Spectra:
    """Reflectance spectra, 400 to 2500 nm at 5 nm, by kind of material.

    Args:
        library: measured spectra (see ``library``); None: only models and typical shapes.
        responses: folder of tabulated sensor responses (see ``instruments``); None: the folder
            ``sensors/srf`` beside the library's folder if there is one, else Gaussian responses.

    Attributes:
        origin: where the spectra come from, for the data card.

    Raises:
        RecordError: the library is missing or holds no usable spectrum.
        MissingExtraError: the package ``prosail`` is not installed (on the first draw).
    """

    def __init__(self, library: Path | None = None, responses: Path | None = None) -> None:
        self.library = None if library is None else SpectralLibrary(library)
        self.origin = "PROSPECT-D and 4SAIL plants, bio-optical water, snow by grain size; "
        self.origin += (
            f"others measured ({library.name})" if library else "typical shapes for all else"
        )
        self.responses = responses or _responses_beside(library)

    def draw(self, rng: Generator, kind: str) -> Spectrum:
        """Draw a reflectance spectrum (n_wavelengths,) of the kind; water is deep."""
        if kind == "water":
            return self.draw_water(rng).deep
        return self.draw_pair(rng, kind)[0]

    def draw_pair(self, rng: Generator, kind: str) -> NDArray[np.float32]:
        """Draw two spectra (2, n_wavelengths) between which one surface on land varies."""
        library = self._library_for(rng, kind)
        if kind in PLANTS and library is None:
            return self._draw_stand(rng, kind)
        first = _draw_single(rng, kind, library)
        if library:
            first = first * ground.draw_variation(rng, 0.05) * rng.uniform(0.85, 1.15)
        if kind in PLANTS:
            first = first * rng.uniform(0.5, 1.0)
        if kind in ("soil", "sand"):
            first = ground.moisten(rng, first)
        if kind in _BUILT:  # no two roofs are alike
            second = _draw_single(rng, kind, library)
        else:
            second = first * ground.draw_variation(rng, 0.04) * rng.uniform(0.5, 1.2)
        return np.stack([first, second]).clip(0, 1.2).astype(np.float32)

    def draw_water(self, rng: Generator, type_hint: str = "") -> WaterBody:
        """Draw a water body, sometimes with a measured deep reflectance.

        Args:
            rng: random generator.
            type_hint: text that may name its type (see ``draw_water_body``).
        """
        bottom = self.draw(rng, "sand" if rng.random() < 0.5 else "soil")
        if rng.random() < 0.3:  # plants under water
            bottom = 0.5 * bottom + 0.5 * self.draw(rng, "grass_green")
        body = draw_water_body(rng, type_hint, bottom)
        library = self._library_for(rng, "water")
        return body if library is None else replace(body, deep=library.draw(rng, "water"))

    def _draw_stand(self, rng: Generator, kind: str) -> NDArray[np.float32]:
        stand = draw_canopy(rng, kind, self.draw(rng, "soil"))
        if kind in _STRAW_SHARES:
            straw = rng.uniform(*_STRAW_SHARES[kind])
            stand = (1 - straw) * stand + straw * self.draw(rng, "litter")
        # The sparser second spectrum also has more shade in it.
        return stand * np.array([[1], [rng.uniform(0.6, 0.95)]], np.float32)

    def _library_for(self, rng: Generator, kind: str) -> SpectralLibrary | None:
        """The library if this spectrum is to be a measured one."""
        if self.library is None or kind not in self.library:
            return None
        return self.library if rng.random() < _MEASURED_SHARES.get(kind, 1.0) else None


def _responses_beside(library: Path | None) -> Path | None:
    if library is None:
        return None
    folder = library if library.is_dir() else library.parent
    responses = folder.parent / "sensors" / "srf"
    return responses if responses.is_dir() else None


def _draw_single(rng: Generator, kind: str, library: SpectralLibrary | None) -> Spectrum:
    if library:
        return library.draw(rng, kind)
    if kind in ("snow", "ice"):
        return ground.draw_snow(rng, kind)
    return ground.draw_typical(rng, kind)
