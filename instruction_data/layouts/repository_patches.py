"""The repository's Sentinel-2 patches in ``.npz`` files: Tokyo and landslides.

What each label can and cannot state about every class was found by visual inspection; the
docstrings of the readers describe it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from instruction_data.layouts.rasters import LayoutRaster, labelled_chips
from instruction_data.layouts.repository_files import (
    Bands,
    band_refs,
    read_arrays,
    read_meta,
    repository_layout,
)
from instruction_data.sources.chips import Chip, SceneItem, Split, Truth

_TOKYO_CODES = {
    "water": (0,),
    "grassland": (1, 2),
    "built_up": (3,),
    "tree_cover": (4,),
    "cropland": (5,),
    "vegetation": (1, 2, 4, 5),
}


def _tokyo_items(folder: Path) -> Iterator[SceneItem]:
    bands = band_refs(read_meta(folder)["bands_10m"])
    for part in ("A", "B"):
        reader = partial(_tokyo_chips, folder, part, bands)
        yield SceneItem(id=f"tokyo_{part}", read=reader, place="tokyo", split="train")


def _tokyo_chips(folder: Path, part: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 patches labelled at their centre, 8 x 8 of them side by side in a chip.

    Only the centres are known.
    """
    path = folder / f"set_{part}.npz"
    patches, labels = read_arrays(path, "patches_10m", "label_10m")
    centre = np.zeros((16, 16), bool)
    centre[5:11, 5:11] = True
    unknown = ~np.tile(centre, (8, 8))
    order = np.random.default_rng(ord(part)).permutation(len(patches))
    chip_patches = order[: len(patches) // 64 * 64].reshape(-1, 64)
    for number, chosen in enumerate(chip_patches):
        grid = patches[chosen].reshape(8, 8, 4, 16, 16)
        values = grid.transpose(2, 0, 3, 1, 4).reshape(4, 128, 128)
        cover = np.kron(labels[chosen].reshape(8, 8), np.ones((16, 16), np.uint8))
        truth: Truth = {
            name: (np.isin(cover, codes), unknown) for name, codes in _TOKYO_CODES.items()
        }
        # A park may have trees and a golf course bare bunkers: only what is certain is listed.
        truth["tree_cover"] = cover == 4, unknown | np.isin(cover, (1, 2))
        truth["snow_ice"] = truth["burned"] = np.zeros_like(unknown), unknown
        yield from labelled_chips(
            LayoutRaster(path, values),
            truth,
            id=f"tokyo_{part}{number:02d}",
            sensor="sentinel-2a",
            bands=bands,
            level="uncalibrated",
            gsd_m=10,
            scale=1 / 255,
            labels="class of each patch's centre; patches of several places side by side",
        )


def _landslide_items(folder: Path) -> Iterator[SceneItem]:
    bands = band_refs(read_meta(folder)["bands"][:12])
    (scars,) = read_arrays(folder / "chips.npz", "label")
    # Without a scar, nothing is known of a chip.
    for number in np.flatnonzero(scars.any(axis=(1, 2))).tolist():
        reader = partial(_landslide_chips, folder, number, bands)
        yield SceneItem(
            id=f"landslide_{number:02d}", read=reader, place="landslide4sense", split="train"
        )


def _landslide_chips(folder: Path, number: int, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 divided by unknown means, scars of landslides outlined; the rest is unknown."""
    path = folder / "chips.npz"
    images, labels = read_arrays(path, "image", "label")
    values = images[number, :12].astype(np.float32)
    scar = labels[number] == 1
    nowhere = np.zeros_like(scar)
    truth: Truth = {"bare": (scar, ~scar)}
    for name in ("vegetation", "water", "built_up", "snow_ice"):
        truth[name] = nowhere, ~scar
    yield from labelled_chips(
        LayoutRaster(path, values),
        truth,
        id=f"landslide_{number:02d}",
        sensor="sentinel-2a",
        bands=bands,
        level="uncalibrated",
        gsd_m=10,
        labels="outlined landslide scars; the rest is unknown",
    )


TOKYO = repository_layout(
    name="s2_tokyo_patches",
    items=_tokyo_items,
    title="Sentinel-2 patches of Tokyo labelled at their centres",
    licence="Apache-2.0; Copernicus Sentinel data, free and open",
    github="remicres/otbtf",
)
LANDSLIDE = repository_layout(
    name="s2_landslide4sense",
    items=_landslide_items,
    title="Landslide4Sense chips, scars of landslides outlined",
    licence="research use (IARAI)",
    github="CamDucLe/Landslide-Project-Sentinel2",
)
