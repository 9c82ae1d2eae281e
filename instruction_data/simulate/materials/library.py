"""Measured reflectance spectra by kind of material: a library in .npz, a folder of them, or an ENVI spectral library.

An ``.npz`` holds ``wavelengths_nm`` (n), ``reflectance`` (spectra, n) from 0 to 1, NaN where not measured, ``class``,
``subclass``, ``names`` and ``source`` (spectra). An ENVI library (``.sli`` or ``.hdr``) says in its spectra's names
what they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spex.errors import RecordError

Spectrum = NDArray[np.float32]
WAVELENGTHS: NDArray[np.float64] = np.arange(400.0, 2501.0, 5.0)
"""The grid of every spectrum here, nm."""

_KINDS: Mapping[str, tuple[str, ...]] = {
    "water": ("water",), "tree": ("canopy_broadleaf", "canopy_conifer"), "shrub": ("shrub",),
    "grass_crop": ("grass_green", "crop_green"), "marsh_mixed": ("marsh",), "rangeland_mixed": ("grass_dry", "shrub"),
    "dry_vegetation": ("litter", "grass_dry", "crop_ripe"), "soil": ("soil",), "sand": ("sand",), "rock": ("rock",),
    "roof": ("roof",), "asphalt": ("asphalt",), "concrete": ("concrete",), "other_manmade": ("paint", "roof"),
    "snow_ice": ("snow",), "burned": ("char",), "char": ("char",), "ash": ("ash",), "ice": ("ice",),
}  # fmt: skip
_WORDS: Mapping[str, str] = {
    r"asphalt|bitumen|tar\b": "asphalt", r"concrete|cement|pavement": "concrete", r"roof|tile|shingle": "roof",
    r"tree|conifer|deciduous|oak|pine|maple": "tree", r"grass|lawn|meadow|crop|corn|wheat|alfalfa": "grass_crop",
    r"shrub|bush": "shrub", r"marsh|wetland": "marsh_mixed", r"litter|straw|bark|npv|dry veg": "dry_vegetation",
    r"sand|beach": "sand", r"soil|loam|clay": "soil", r"rock|granite|basalt|stone": "rock",
    r"snow": "snow_ice", r"\bice\b": "ice", r"\bash\b": "ash", r"char|burn": "burned", r"water|lake|sea": "water",
    r"metal|plastic|paint|brick|polyethylene": "other_manmade",
}  # fmt: skip
_ENVI_TYPES = {"1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2"}
_VISIBLE, _WHOLE = ((450, 680),), ((450, 1300), (1550, 1700), (2100, 2300))


class _Row(NamedTuple):
    kind: str
    group: str
    spectrum: Spectrum


class Library:
    """Spectra by kind, in groups: repeats of one surface are one group, however many there are."""

    def __init__(self, path: Path) -> None:
        groups: defaultdict[str, defaultdict[str, list[Spectrum]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row in _rows(path):
            groups[row.kind][row.group].append(row.spectrum)
        self._groups = {
            kind: [np.stack(group) for group in named.values()] for kind, named in groups.items()
        }
        if not self._groups:
            raise RecordError(
                f"{path} holds no spectrum of a kind that scenes are made of; known classes: {', '.join(_KINDS)}"
            )

    def __contains__(self, kind: object) -> bool:
        return kind in self._groups

    def counts(self) -> dict[str, int]:
        """How many spectra there are of each kind."""
        return {kind: sum(map(len, groups)) for kind, groups in sorted(self._groups.items())}

    def draw(self, rng: np.random.Generator, kind: str) -> Spectrum:
        """A measured spectrum (n_wavelengths,) of the kind; groups weigh as the square root of their size."""
        groups = self._groups[kind]
        weight = np.sqrt([len(group) for group in groups])
        group = groups[rng.choice(len(groups), p=weight / weight.sum())]
        return group[rng.integers(len(group))]


def _rows(path: Path) -> Iterator[_Row]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".sli"))
    else:
        # The spectra of shrubs and marshes come as a second file of the same library.
        files = [path, *sorted(path.parent.glob(f"{path.stem}_extra*{path.suffix}"))]
    if not files or not files[0].exists():
        raise RecordError(
            f"no spectral library at {path}; give an .npz, an ENVI .sli, or a folder of them"
        )
    for file in files:
        yield from _npz(file) if file.suffix == ".npz" else _envi(file)


def _npz(path: Path) -> Iterator[_Row]:
    with np.load(path) as held:
        lacking = {"wavelengths_nm", "reflectance", "class", "names"} - set(held)
        if lacking:
            raise RecordError(
                f"{path} lacks the arrays {', '.join(sorted(lacking))} of a spectral library"
            )
        names, found = held["names"].astype(str), held["class"].astype(str)
        parts = [
            held[key].astype(str) if key in held else np.full(len(names), "")
            for key in ("source", "subclass")
        ]
        yield from _classed(
            held["wavelengths_nm"], held["reflectance"], found, names, np.char.add(*parts)
        )


def _envi(path: Path) -> Iterator[_Row]:
    """GDAL refuses ENVI spectral libraries, so the header is read here."""
    data, header = path.with_suffix(".sli"), path.with_suffix(".hdr")
    if not (data.exists() and header.exists()):
        raise RecordError(
            f"{data} is an ENVI spectral library only with its .hdr beside it; one of them is missing"
        )
    pairs = re.findall(
        r"^([a-z ]+?)\s*=\s*(\{.*?\}|.*?)\s*$", header.read_text(), re.I | re.M | re.S
    )
    said = {key.lower(): value for key, value in pairs}
    try:
        names, wavelengths = (
            [t.strip() for t in said[k].strip("{}\n ").split(",")]
            for k in ("spectra names", "wavelength")
        )
        dtype = np.dtype(_ENVI_TYPES[said["data type"]]).newbyteorder(
            ">" if said.get("byte order") == "1" else "<"
        )
        values = np.fromfile(data, dtype, offset=int(said.get("header offset", 0))).astype(float)
        values, nm = values.reshape(len(names), len(wavelengths)), np.array(wavelengths, float)
    except (KeyError, ValueError) as error:
        raise RecordError(
            f"{header} does not describe the spectra of {data.name} ({error})"
        ) from error
    nm *= 1000 if nm.max() < 100 else 1
    high = np.nanquantile(values, 0.99)
    values /= next(scale for scale in (1, 100, 1e4) if high <= 1.6 * scale or scale == 1e4)
    known = [
        next((c for word, c in _WORDS.items() if re.search(word, name.lower())), "")
        for name in names
    ]
    yield from _classed(nm, values, known, names, [data.stem] * len(names))


def _classed(
    wavelengths: NDArray[np.float64],
    spectra: NDArray[np.float64],
    found: Sequence[str],
    names: Sequence[str],
    sources: Sequence[str],
) -> Iterator[_Row]:
    for spectrum, name_of_class, name, source in zip(spectra, found, names, sources, strict=True):
        kinds = (
            ("marsh",)
            if name.startswith(("Marsh_DISP", "Marsh_PHAU"))
            else _KINDS.get(name_of_class, ())
        )
        if name_of_class == "burned" and re.search(r"\bash|gray", name):
            kinds = ("ash",)
        if name_of_class == "snow_ice" and re.search(r"slush|Ice", name):
            kinds = ("ice",)
        filled = _fill(wavelengths, spectrum, water="water" in kinds) if kinds else None
        group = source + re.match(r"[^\d.]*", name)[0]  # type: ignore[index]
        if filled is not None:
            yield from (_Row(kind, group, filled) for kind in kinds)


def _fill(
    wavelengths: NDArray[np.float64], spectrum: NDArray[np.float64], *, water: bool
) -> Spectrum | None:
    """The spectrum on our grid, None where too little of it was measured."""
    known = np.isfinite(spectrum)
    if not known.any():
        return None
    nm = wavelengths[known]
    gap = np.interp(WAVELENGTHS, wavelengths, ~known)
    for low, high in _VISIBLE if water else _WHOLE:
        if (
            nm[0] > low + 20
            or nm[-1] < high
            or gap[(max(low, nm[0]) <= WAVELENGTHS) & (high >= WAVELENGTHS)].any()
        ):
            return None
    filled = np.interp(WAVELENGTHS, nm, spectrum[known])
    if water:  # in-situ spectra end in the near infrared, where water turns black
        filled *= np.exp(-np.maximum(WAVELENGTHS - max(nm[-1], 700.0), 0) / 60)
    return np.clip(filled, 0, 1.2).astype(np.float32)
