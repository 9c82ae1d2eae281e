"""High-resolution data sets as they are published: Globe230k and GID-15.

Both hold display values, never reflectance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from instruction_data.layouts.rasters import (
    LayoutRaster,
    labelled_chips,
    read,
    read_strip,
    sensor_bands,
    strips,
)
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError
from spex.raster.tiles import Tile
from spex.records import BandRef

# Gaofen-2: from the band limits 450-520, 520-590, 630-690 and 770-890 nm.
_GAOFEN_BANDS = {
    "Blue": BandRef(name="Blue", wavelength_nm=485, fwhm_nm=70),
    "Green": BandRef(name="Green", wavelength_nm=555, fwhm_nm=70),
    "Red": BandRef(name="Red", wavelength_nm=660, fwhm_nm=60),
    "NIR": BandRef(name="NIR", wavelength_nm=830, fwhm_nm=120),
}
# Colours (RGB) of the published label images in the order of the codes, from 0.
_GID_COLOURS = (
    (0, 0, 0),
    (200, 0, 0),
    (250, 0, 150),
    (200, 150, 150),
    (250, 150, 150),
    (0, 200, 0),
    (150, 250, 0),
    (150, 200, 150),
    (200, 0, 200),
    (150, 0, 250),
    (150, 150, 250),
    (250, 200, 0),
    (200, 200, 0),
    (0, 0, 200),
    (0, 150, 200),
    (0, 200, 250),
)


def _matches_globe230k(root: Path) -> bool:
    return (root / "image_patch").is_dir() and (root / "label_patch").is_dir()


def _globe230k_items(root: Path) -> Iterator[SceneItem]:
    """Patches without georeference, split as in the published lists; test patches are left out."""
    lists = {part: _listed_stems(root, part) for part in ("train", "val", "test")}
    for path in sorted((root / "image_patch").glob("*.jpg")):
        stem = path.stem
        if stem in lists["test"]:
            continue
        split: Split | None = None
        if stem in lists["train"]:
            split = "train"
        elif stem in lists["val"]:
            split = "val"
        reader = partial(_globe230k_chips, path, root / f"label_patch/{stem}.png")
        yield SceneItem(id=f"globe230k_{stem}", read=reader, place=stem, split=split)


def _listed_stems(root: Path, part: str) -> frozenset[str]:
    stems: set[str] = set()
    for path in root.glob(f"{part}*.*"):
        if path.suffix in (".csv", ".txt"):
            lines = path.read_text().splitlines()
            stems.update(Path(line.split(",")[0].strip()).stem for line in lines)
    return frozenset(stems)


def _globe230k_chips(path: Path, label: Path, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path),
        legend_truth(codes, legend("globe230k"), str(label)),
        id=f"globe230k_{path.stem}",
        sensor="aerial",
        bands=sensor_bands("naip", ("R", "G", "B")),
        level="uncalibrated",
        gsd_m=1,
        scale=1 / 255,
        labels="first-level land cover drawn on screen (Globe230k)",
    )


def _gid_pairs(root: Path) -> list[tuple[Path, Path]]:
    """Images with their labels.

    In the layout of the challenge (``img_dir``, ``ann_dir``) or of GID's fine set, there with the
    NIR band if it was downloaded.
    """
    pairs: list[tuple[Path, Path]] = []
    for image in sorted(root.glob("img_dir/*/*.tif")):
        part = image.parent.name
        label = root / "ann_dir" / part / f"{image.stem}_15label.png"
        if part != "test":
            pairs.append((image, label if label.is_file() else label.with_suffix(".tif")))
    folder = root / "image_NirRGB"
    if not folder.is_dir():
        folder = root / "image_RGB"
    for image in sorted(folder.glob("*.tif")):
        pairs.append((image, root / f"label_15classes/{image.stem}_label.tif"))
    return pairs


def _matches_gid15(root: Path) -> bool:
    return (root / "label_15classes").is_dir() or any(root.glob("ann_dir/*/*_15label.*"))


def _gid15_items(root: Path) -> Iterator[SceneItem]:
    """Rows of chips of images without georeference; the images of one day are one place."""
    for path, label in _gid_pairs(root):
        day = re.search(r"__(\d{8})_", path.name)
        place = day[1] if day else path.stem
        for tiles in strips(path):
            reader = partial(_gid15_chips, path, label, tiles)
            item_id = f"gid15_{path.stem}_r{tiles[0].row:05d}"
            yield SceneItem(id=item_id, read=reader, place=place)


def _gid15_chips(path: Path, label: Path, tiles: tuple[Tile, ...], split: Split) -> Iterator[Chip]:
    images = read_strip(path, tiles)
    labels = read_strip(label, tiles)
    for tile, image, colours in zip(tiles, images, labels, strict=True):
        names = ["Red", "Green", "Blue"]
        if len(image.values) == 4:
            names.insert(0, "NIR")
        yield from labelled_chips(
            image,
            legend_truth(_gid_codes(colours), legend("gid15"), str(label)),
            id=f"gid15_{path.stem}_{tile.row:05d}_{tile.col:05d}",
            sensor="gaofen-2",
            bands=tuple(_GAOFEN_BANDS[name] for name in names),
            level="uncalibrated",
            gsd_m=4,
            scale=1 / 255,
            zero_is_gap=True,
            labels="15 classes drawn on screen (GID-15)",
        )


def _gid_codes(label: LayoutRaster) -> np.ndarray:
    """Codes of a label image, which holds codes or the colours of the legend."""
    if len(label.values) == 1:
        return label.values[0]
    red, green, blue = label.values[:3].astype(np.int64)
    packed = red << 16 | green << 8 | blue
    code_by_colour = {
        red << 16 | green << 8 | blue: code for code, (red, green, blue) in enumerate(_GID_COLOURS)
    }
    colours, positions = np.unique(packed, return_inverse=True)
    unlisted = [f"#{colour:06x}" for colour in colours if int(colour) not in code_by_colour]
    if unlisted:
        raise RecordError(
            f"{label.path}: colours {', '.join(unlisted[:8])} are not of GID-15; download it again"
        )
    codes = np.array([code_by_colour[int(colour)] for colour in colours])
    return codes[positions].reshape(packed.shape)


LAYOUTS = (
    Layout(
        name="globe230k",
        title="Globe230k v3 (doi:10.34133/remotesensing.0078)",
        licence="CC-BY-4.0",
        url="https://zenodo.org/records/10435661",
        matches=_matches_globe230k,
        items=_globe230k_items,
    ),
    Layout(
        name="gid15",
        title="Gaofen Image Dataset with 15 categories (doi:10.1016/j.rse.2019.111322)",
        licence="research use; none stated",
        url="https://captain-whu.github.io/GID15/",
        matches=_matches_gid15,
        items=_gid15_items,
    ),
)
