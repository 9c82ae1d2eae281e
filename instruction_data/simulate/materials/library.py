"""Measured reflectance spectra by kind of material, from an .npz file, ENVI library or folder.

An ``.npz`` file holds ``wavelengths_nm`` (n,), ``reflectance`` (spectra, n) from 0 to 1 with NaN
where nothing was measured, and (spectra,) ``class`` and ``names``; ``subclass`` and ``source`` are
optional. In an ENVI library (``.sli`` with ``.hdr``) the names of the spectra give the material.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spex.errors import RecordError

Spectrum = NDArray[np.float32]
WAVELENGTHS: NDArray[np.float64] = np.arange(400.0, 2501.0, 5.0)
"""The grid of all spectra of the simulator in nm: (n_wavelengths,)."""

_KINDS: Mapping[str, tuple[str, ...]] = {
    "water": ("water",),
    "tree": ("canopy_broadleaf", "canopy_conifer"),
    "shrub": ("shrub",),
    "grass_crop": ("grass_green", "crop_green"),
    "marsh_mixed": ("marsh",),
    "rangeland_mixed": ("grass_dry", "shrub"),
    "dry_vegetation": ("litter", "grass_dry", "crop_ripe"),
    "soil": ("soil",),
    "sand": ("sand",),
    "rock": ("rock",),
    "roof": ("roof",),
    "asphalt": ("asphalt",),
    "concrete": ("concrete",),
    "other_manmade": ("paint", "roof"),
    "snow_ice": ("snow",),
    "burned": ("char",),
    "char": ("char",),
    "ash": ("ash",),
    "ice": ("ice",),
}
_CLASS_PATTERNS: Mapping[str, str] = {
    r"asphalt|bitumen|tar\b": "asphalt",
    r"concrete|cement|pavement": "concrete",
    r"roof|tile|shingle": "roof",
    r"tree|conifer|deciduous|oak|pine|maple": "tree",
    r"grass|lawn|meadow|crop|corn|wheat|alfalfa": "grass_crop",
    r"shrub|bush": "shrub",
    r"marsh|wetland": "marsh_mixed",
    r"litter|straw|bark|npv|dry veg": "dry_vegetation",
    r"sand|beach": "sand",
    r"soil|loam|clay": "soil",
    r"rock|granite|basalt|stone": "rock",
    r"snow": "snow_ice",
    r"\bice\b": "ice",
    r"\bash\b": "ash",
    r"char|burn": "burned",
    r"water|lake|sea": "water",
    r"metal|plastic|paint|brick|polyethylene": "other_manmade",
}
_ENVI_TYPES = {"1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2"}
# Ranges in nm that must be measured: outside them gaps are filled.
_REQUIRED_WATER = ((450, 680),)
_REQUIRED = ((450, 1300), (1550, 1700), (2100, 2300))


class _MeasuredSpectrum(NamedTuple):
    """A spectrum, the kind of material it shows, and the group of repeats it belongs to."""

    kind: str
    group: str
    spectrum: Spectrum


class SpectralLibrary:
    """Measured spectra by kind; all repeats of one surface form one group.

    Args:
        path: an ``.npz`` file, an ENVI ``.sli`` or ``.hdr`` file, or a folder of them.

    Raises:
        RecordError: nothing there, not a spectral library, or no usable spectrum in it.
    """

    def __init__(self, path: Path) -> None:
        groups: dict[str, dict[str, list[Spectrum]]] = {}
        for measured in _read(path):
            by_group = groups.setdefault(measured.kind, {})
            by_group.setdefault(measured.group, []).append(measured.spectrum)
        self._groups = {
            kind: [np.stack(spectra) for spectra in by_group.values()]
            for kind, by_group in groups.items()
        }
        if not self._groups:
            raise RecordError(
                f"{path} holds no spectrum that the simulator can use; usable classes: "
                f"{', '.join(_KINDS)}"
            )

    def __contains__(self, kind: object) -> bool:
        return kind in self._groups

    def draw(self, rng: np.random.Generator, kind: str) -> Spectrum:
        """Draw a spectrum (n_wavelengths,); groups weigh as the square root of their size."""
        groups = self._groups[kind]
        weights = np.sqrt([len(group) for group in groups])
        group = groups[rng.choice(len(groups), p=weights / weights.sum())]
        return group[rng.integers(len(group))]


def _read(path: Path) -> Iterator[_MeasuredSpectrum]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".sli"))
    else:
        # The spectra of shrubs and marshes come as a second file of the same library.
        files = [path, *sorted(path.parent.glob(f"{path.stem}_extra*{path.suffix}"))]
    if not files or not files[0].exists():
        raise RecordError(
            f"no spectral library at {path}; give an .npz, an ENVI .sli, or a folder of them"
        )
    for file in files:
        yield from _read_npz(file) if file.suffix == ".npz" else _read_envi(file)


def _read_npz(path: Path) -> Iterator[_MeasuredSpectrum]:
    with np.load(path) as arrays:
        missing = {"wavelengths_nm", "reflectance", "class", "names"} - set(arrays)
        if missing:
            raise RecordError(
                f"{path} lacks the arrays {', '.join(sorted(missing))} of a spectral library"
            )
        names = arrays["names"].astype(str).tolist()
        sources = _texts(arrays, "source", len(names))
        subclasses = _texts(arrays, "subclass", len(names))
        yield from _usable(
            arrays["wavelengths_nm"],
            arrays["reflectance"],
            arrays["class"].astype(str).tolist(),
            names,
            [f"{source}{subclass}" for source, subclass in zip(sources, subclasses, strict=True)],
        )


def _texts(arrays: Any, key: str, count: int) -> list[str]:
    return arrays[key].astype(str).tolist() if key in arrays else [""] * count


def _read_envi(path: Path) -> Iterator[_MeasuredSpectrum]:
    """Read data and header; GDAL refuses ENVI spectral libraries."""
    data = path.with_suffix(".sli")
    header = path.with_suffix(".hdr")
    if not (data.exists() and header.exists()):
        raise RecordError(
            f"{data} is an ENVI spectral library only with its .hdr beside it; one is missing"
        )
    pairs = re.findall(
        r"^([a-z ]+?)\s*=\s*(\{.*?\}|.*?)\s*$", header.read_text(), re.I | re.M | re.S
    )
    fields = {key.lower(): value for key, value in pairs}
    try:
        names = _split_list(fields["spectra names"])
        nm = np.array(_split_list(fields["wavelength"]), float)
        byte_order = ">" if fields.get("byte order") == "1" else "<"
        dtype = np.dtype(byte_order + _ENVI_TYPES[fields["data type"]])
        values = np.fromfile(data, dtype, offset=int(fields.get("header offset", 0)))
        values = values.astype(float).reshape(len(names), len(nm))
    except (KeyError, ValueError) as error:
        raise RecordError(
            f"{header} does not describe the spectra of {data.name} ({error})"
        ) from error
    nm *= 1000 if nm.max() < 100 else 1
    high = np.nanquantile(values, 0.99)
    values /= next(scale for scale in (1, 100, 1e4) if high <= 1.6 * scale or scale == 1e4)
    class_names = [_class_by_name(name) for name in names]
    yield from _usable(nm, values, class_names, names, [data.stem] * len(names))


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.strip("{}\n ").split(",")]


def _class_by_name(name: str) -> str:
    for pattern, class_name in _CLASS_PATTERNS.items():
        if re.search(pattern, name.lower()):
            return class_name
    return ""


def _usable(
    wavelengths: NDArray[np.float64],
    spectra: NDArray[np.float64],
    class_names: Sequence[str],
    names: Sequence[str],
    sources: Sequence[str],
) -> Iterator[_MeasuredSpectrum]:
    """The spectra whose class and measured range the simulator can use, once for each kind."""
    rows = zip(spectra, class_names, names, sources, strict=True)
    for spectrum, class_name, name, source in rows:
        kinds = _kinds(class_name, name)
        if not kinds:
            continue
        filled = _fill_gaps(wavelengths, spectrum, water="water" in kinds)
        if filled is None:
            continue
        surface = re.split(r"[\d.]", name, maxsplit=1)[0]  # repeats are numbered
        for kind in kinds:
            yield _MeasuredSpectrum(kind, source + surface, filled)


def _kinds(class_name: str, name: str) -> tuple[str, ...]:
    """Kinds of material that a spectrum of this class and name can stand for."""
    if class_name == "snow_ice" and re.search(r"slush|Ice", name):
        return ("ice",)
    if class_name == "burned" and re.search(r"\bash|gray", name):
        return ("ash",)
    if name.startswith(("Marsh_DISP", "Marsh_PHAU")):
        return ("marsh",)
    return _KINDS.get(class_name, ())


def _fill_gaps(
    wavelengths: NDArray[np.float64], spectrum: NDArray[np.float64], *, water: bool
) -> Spectrum | None:
    """The spectrum on ``WAVELENGTHS``; None where too little of it was measured."""
    measured = np.isfinite(spectrum)
    if not measured.any():
        return None
    nm = wavelengths[measured]
    gap = np.interp(WAVELENGTHS, wavelengths, ~measured)
    for low, high in _REQUIRED_WATER if water else _REQUIRED:
        inside = (max(low, nm[0]) <= WAVELENGTHS) & (high >= WAVELENGTHS)
        if nm[0] > low + 20 or nm[-1] < high or gap[inside].any():
            return None
    filled = np.interp(WAVELENGTHS, nm, spectrum[measured])
    if water:  # in-situ spectra end in the near infrared, where water turns black
        filled *= np.exp(-np.maximum(WAVELENGTHS - max(nm[-1], 700.0), 0) / 60)
    return np.clip(filled, 0, 1.2).astype(np.float32)
