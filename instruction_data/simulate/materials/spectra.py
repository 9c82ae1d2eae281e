"""Spectra of the materials of a landscape: modelled, or measured where a library has them; never twice the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials import ground
from instruction_data.simulate.materials.canopy import PLANTS, canopy
from instruction_data.simulate.materials.library import WAVELENGTHS, Library, Spectrum
from instruction_data.simulate.materials.water_optics import WaterBody, water_body

# How often a measured spectrum is taken where there are some: leaves measured in a laboratory are no canopies.
_MEASURED = {"water": 0.25, "snow": 0.3, "ice": 0.3, "marsh": 0.4} | dict.fromkeys(
    PLANTS - {"marsh"}, 0.15
)
# Straw, stalks and twigs, which the leaf model does not know.
_DRY = {"grass_dry": (0.4, 0.9), "crop_ripe": (0.4, 0.9), "shrub": (0.0, 0.6)}
_BUILT = frozenset({"roof", "paint", "asphalt", "concrete"})


class Spectra:
    """Reflectance spectra, 400 to 2500 nm at 5 nm, by kind of material.

    Args:
        library: measured spectra (see ``library``), None: models and typical shapes only.
        responses: a folder of tabulated sensor responses (see ``instruments``); None: ``sensors/srf`` beside the
            library's folder where there is one, else Gaussian responses.

    Attributes:
        origin: where the spectra come from, for the data card.

    Raises:
        RecordError: the library is missing or holds nothing of use.
        MissingExtraError: the package ``prosail`` is not installed (when the first spectrum is drawn).
    """

    wavelengths = WAVELENGTHS

    def __init__(self, library: Path | None = None, responses: Path | None = None) -> None:
        self.library = None if library is None else Library(library)
        self.origin = "PROSPECT-D and 4SAIL plants, bio-optical water, snow by grain size; "
        self.origin += (
            f"others measured ({library.name})" if library else "typical shapes for all else"
        )
        folder = library if library is None or library.is_dir() else library.parent
        beside = None if folder is None else folder.parent / "sensors" / "srf"
        self.responses = responses or (beside if beside and beside.is_dir() else None)

    def draw(self, rng: Generator, kind: str) -> Spectrum:
        """A reflectance spectrum (n_wavelengths,) of the kind; water is deep."""
        return self.water(rng).deep if kind == "water" else self.pair(rng, kind)[0]

    def pair(self, rng: Generator, kind: str) -> NDArray[np.float32]:
        """Two spectra (2, n_wavelengths) between which one surface on land varies from place to place."""
        library = self._measured(rng, kind)
        if kind in PLANTS and library is None:
            stand = canopy(rng, kind, self.draw(rng, "soil"))
            if kind in _DRY:
                straw = rng.uniform(*_DRY[kind])
                stand = (1 - straw) * stand + straw * self.draw(rng, "litter")
            return stand * np.array(
                [[1], [rng.uniform(0.6, 0.95)]], np.float32
            )  # sparser, and more of it in shade
        one = self._single(rng, kind, library)
        if library:
            one = one * ground.smooth(rng, 0.05) * rng.uniform(0.85, 1.15)
        if kind in PLANTS:
            one = one * rng.uniform(0.5, 1.0)
        if kind in ("soil", "sand"):
            one = ground.moist(rng, one)
        if kind in _BUILT:  # no two roofs are alike
            other = self._single(rng, kind, library)
        else:
            other = one * ground.smooth(rng, 0.04) * rng.uniform(0.5, 1.2)
        return np.stack([one, other]).clip(0, 1.2).astype(np.float32)

    def _measured(self, rng: Generator, kind: str) -> Library | None:
        """The library where this spectrum is to be a measured one."""
        known = self.library is not None and kind in self.library
        return self.library if known and rng.random() < _MEASURED.get(kind, 1.0) else None

    @staticmethod
    def _single(rng: Generator, kind: str, library: Library | None) -> Spectrum:
        if library:
            return library.draw(rng, kind)
        return ground.snow(rng, kind) if kind in ("snow", "ice") else ground.usual(rng, kind)

    def water(self, rng: Generator, hint: str = "") -> WaterBody:
        """A water body, of the type that ``hint`` names; in a share of the cases its deep reflectance is measured."""
        bottom = self.draw(rng, "sand" if rng.random() < 0.5 else "soil")
        if rng.random() < 0.3:  # plants under water
            bottom = 0.5 * bottom + 0.5 * self.draw(rng, "grass_green")
        body = water_body(rng, hint, bottom)
        library = self._measured(rng, "water")
        return body if library is None else replace(body, deep=library.draw(rng, "water"))
