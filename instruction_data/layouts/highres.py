"""Aerial and very-high-resolution data sets as they are published: Chesapeake, Globe230k, GID-15, SpaceNet 2.

All hold display values or raw counts, never reflectance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.features import rasterize
from rasterio.warp import transform_geom

from instruction_data.layouts.rasters import (
    LayoutRaster,
    footprint,
    hide_unknown,
    labelled_chips,
    read,
    read_strip,
    sensor_bands,
    strips,
)
from instruction_data.sources.chips import (
    Chip,
    Layout,
    SceneItem,
    Split,
    Truth,
    absent_truth,
    class_truth,
)
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError
from spex.raster.tiles import Tile
from spex.records import BandRef

_STATE = "*_1m_*_extended-debuffered-*_tiles"
# Gaofen-2: centres and widths from the band limits 450-520, 520-590, 630-690 and 770-890 nm.
_GAOFEN = {
    name: BandRef(name=name, wavelength_nm=centre, fwhm_nm=width)
    for name, centre, width in (
        ("Blue", 485, 70),
        ("Green", 555, 70),
        ("Red", 660, 60),
        ("NIR", 830, 120),
    )
}
# The colours of the legend are those of the published label images.
_GID_COLOURS = {
    (0, 0, 0): 0, (200, 0, 0): 1, (250, 0, 150): 2, (200, 150, 150): 3, (250, 150, 150): 4, (0, 200, 0): 5,
    (150, 250, 0): 6, (150, 200, 150): 7, (200, 0, 200): 8, (150, 0, 250): 9, (150, 150, 250): 10, (250, 200, 0): 11,
    (200, 200, 0): 12, (0, 0, 200): 13, (0, 150, 200): 14, (0, 200, 250): 15,
}  # fmt: skip


def chesapeake_truth(cover: np.ndarray, roofs: np.ndarray) -> Truth:
    """What Chesapeake land cover of seven classes and building footprints (both (h, w)) say.

    Low vegetation may be grass, crops, shrubs or reeds, and takes in tilled fields; other impervious ground may be a
    roof or paved.
    """
    low, paved, roof = cover == 3, np.isin(cover, (5, 6)), roofs == 1
    truth = {
        "water": class_truth(cover == 1),
        "tree_cover": class_truth(cover == 2),
        "vegetation": class_truth(np.isin(cover, (2, 3))),
    }
    truth |= {"bare": class_truth(cover == 4, low), "built_up": class_truth(paved)}
    truth |= {"road": class_truth(cover == 6, cover == 5), "building": class_truth(roof, paved & ~roof)}
    truth |= {
        name: (np.zeros_like(low), low)
        for name in ("grassland", "cropland", "shrubland", "wetland")
    }
    return hide_unknown(truth | absent_truth(low, "snow_ice", "cloud", "burned"), np.isin(cover, (0, 15, 255)))


def _holds_chesapeake(root: Path) -> bool:
    return any(root.glob(f"{_STATE}/*_naip-new.tif"))


def _chesapeake_items(root: Path) -> Iterator[SceneItem]:
    """Rows of chips of the quarter quads of six states; the published lists part neighbours, footprints do not."""
    for path in sorted(root.glob(f"{_STATE}/*_naip-new.tif")):
        stem, state, box = (
            path.name.removesuffix("_naip-new.tif"),
            path.parent.name[:2],
            footprint(path),
        )
        for tiles in strips(path):
            reader = partial(_chesapeake_chips, path.parent, stem, tiles)
            place = None if box else f"{state}_{stem}"
            yield SceneItem(
                id=f"chesapeake_{stem}_r{tiles[0].row:05d}", read=reader, place=place, footprint=box
            )


def _chesapeake_chips(
    folder: Path, stem: str, tiles: tuple[Tile, ...], split: Split
) -> Iterator[Chip]:
    dates = ("naip-new", "naip-old")
    layers = [
        read_strip(folder / f"{stem}_{layer}.tif", tiles) for layer in ("lc", "buildings", *dates)
    ]
    for tile, cover, roofs, *images in zip(tiles, *layers, strict=True):
        truth = chesapeake_truth(cover.values[0], roofs.values[0])
        for date, image in zip(dates, images, strict=True):
            yield from labelled_chips(
                image, truth, id=f"chesapeake_{stem}_{tile.row:05d}_{tile.col:05d}_{date}", sensor="naip",
                bands=sensor_bands("naip"), level="uncalibrated", gsd_m=1, scale=1 / 255,
                labels="Chesapeake land cover 2013/2014 and building footprints",
            )  # fmt: skip


def _holds_globe230k(root: Path) -> bool:
    return (root / "image_patch").is_dir() and (root / "label_patch").is_dir()


def _globe230k_items(root: Path) -> Iterator[SceneItem]:
    """Patches without a place, on the side where the published lists have them; those for testing are left out."""
    lists = {part: _listed(root, part) for part in ("train", "val", "test")}
    for path in sorted((root / "image_patch").glob("*.jpg")):
        if path.stem in lists["test"]:
            continue
        split: Split | None = next(
            (side for side in ("train", "val") if path.stem in lists[side]), None
        )
        reader = partial(_globe230k_chips, path, root / f"label_patch/{path.stem}.png")
        yield SceneItem(id=f"globe230k_{path.stem}", read=reader, place=path.stem, split=split)


def _listed(root: Path, part: str) -> frozenset[str]:
    files = [path for path in root.glob(f"{part}*.*") if path.suffix in (".csv", ".txt")]
    return frozenset(
        Path(line.split(",")[0].strip()).stem
        for path in files
        for line in path.read_text().splitlines()
    )


def _globe230k_chips(path: Path, label: Path, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path), legend_truth(codes, legend("globe230k"), str(label)), id=f"globe230k_{path.stem}", sensor="aerial",
        bands=sensor_bands("naip", ("R", "G", "B")), level="uncalibrated", gsd_m=1, scale=1 / 255,
        labels="first-level land cover drawn on screen (Globe230k)",
    )  # fmt: skip


def _gid_pairs(root: Path) -> list[tuple[Path, Path]]:
    """Images and labels of the challenge (``img_dir``, ``ann_dir``) or of GID's fine set, with NIR if it is there."""
    pairs = []
    for path in sorted(root.glob("img_dir/*/*.tif")):
        label = root / "ann_dir" / path.parent.name / f"{path.stem}_15label.png"
        if path.parent.name != "test":
            pairs.append((path, label if label.is_file() else label.with_suffix(".tif")))
    images = next(
        (root / name for name in ("image_NirRGB", "image_RGB") if (root / name).is_dir()),
        root / "image_RGB",
    )
    return pairs + [
        (p, root / f"label_15classes/{p.stem}_label.tif") for p in sorted(images.glob("*.tif"))
    ]


def _holds_gid15(root: Path) -> bool:
    return (root / "label_15classes").is_dir() or any(root.glob("ann_dir/*/*_15label.*"))


def _gid15_items(root: Path) -> Iterator[SceneItem]:
    """Rows of chips of 7200 x 6800 images without a place; those of one pass of the satellite stay together."""
    for path, label in _gid_pairs(root):
        day = re.search(r"__(\d{8})_", path.name)
        for tiles in strips(path):
            reader = partial(_gid15_chips, path, label, tiles)
            yield SceneItem(
                id=f"gid15_{path.stem}_r{tiles[0].row:05d}",
                read=reader,
                place=day[1] if day else path.stem,
            )


def _gid15_chips(path: Path, label: Path, tiles: tuple[Tile, ...], split: Split) -> Iterator[Chip]:
    for tile, image, colours in zip(
        tiles, read_strip(path, tiles), read_strip(label, tiles), strict=True
    ):
        truth = legend_truth(_gid_codes(colours), legend("gid15"), str(label))
        names = (
            ("NIR", "Red", "Green", "Blue") if len(image.values) == 4 else ("Red", "Green", "Blue")
        )
        yield from labelled_chips(
            image, truth, sensor="gaofen-2", bands=tuple(_GAOFEN[name] for name in names),
            level="uncalibrated", gsd_m=4, scale=1 / 255, zero_is_gap=True,
            id=f"gid15_{path.stem}_{tile.row:05d}_{tile.col:05d}", labels="15 classes drawn on screen (GID-15)",
        )  # fmt: skip


def _gid_codes(label: LayoutRaster) -> np.ndarray:
    """Class numbers of a label image, which holds them or the colours of the legend."""
    if len(label.values) == 1:
        return label.values[0]
    packed = label.values[:3].astype(np.int64)
    packed = packed[0] << 16 | packed[1] << 8 | packed[2]
    known = {
        red << 16 | green << 8 | blue: code for (red, green, blue), code in _GID_COLOURS.items()
    }
    colours, positions = np.unique(packed, return_inverse=True)
    strange = [f"#{colour:06x}" for colour in colours if int(colour) not in known]
    if strange:
        raise RecordError(
            f"{label.path}: colours {', '.join(strange[:8])} are not of GID-15; fetch it again"
        )
    return np.array([known[int(colour)] for colour in colours])[positions].reshape(packed.shape)


def _holds_spacenet2(root: Path) -> bool:
    return bool(_spacenet_areas(root))


def _spacenet_areas(root: Path) -> list[Path]:
    candidates = [root, *sorted(root.glob("*AOI_[2345]_*"))]
    return [area for area in candidates if _footprints(area) and "AOI_" in area.name]


def _footprints(area: Path) -> Path | None:
    inside = (area / "geojson_buildings", area / "geojson/buildings")
    return next((path for path in inside if path.is_dir()), None)


def _spacenet2_items(root: Path) -> Iterator[SceneItem]:
    """Tiles of 200 m of four cities by WorldView-3, pan-sharpened and at their own resolution; a city is one place."""
    for area in _spacenet_areas(root):
        city, buildings = re.search(r"AOI_\d_([A-Za-z]+)", area.name), _footprints(area)
        if city is None or buildings is None:
            continue
        for outline in sorted(
            buildings.glob("*.geojson"), key=lambda path: (len(path.name), path.name)
        ):
            number = outline.stem.rsplit("_", 1)[-1]
            name = f"spacenet2_{city[1].lower()}_{number}"
            yield SceneItem(
                id=name, read=partial(_spacenet2_chips, area, outline, name), place=city[1].lower()
            )


def _spacenet2_chips(area: Path, outline: Path, name: str, split: Split) -> Iterator[Chip]:
    number = outline.stem.rsplit("_", 1)[-1]
    found = [
        (folder, gsd, path)
        for folder, gsd in (("PS-MS", 0.3), ("MUL-PanSharpen", 0.3), ("MS", 1.24), ("MUL", 1.24))
        for path in (area / folder).glob(f"*_{number}.tif")
    ]
    if not found:
        raise RecordError(
            f"{outline} has no image of eight bands beside it; fetch {area.name} again"
        )
    for folder, gsd, path in found:
        image = read(path)
        truth = legend_truth(_burned_in(outline, image), legend("spacenet"), str(outline))
        yield from labelled_chips(
            image, truth, id=f"{name}_{folder.lower()}", sensor="worldview-3", bands=sensor_bands("worldview-3"),
            level="uncalibrated", gsd_m=gsd, scale=1 / 2047, zero_is_gap=True,
            labels="building footprints (SpaceNet 2)",
        )  # fmt: skip


def _burned_in(outline: Path, image: LayoutRaster) -> np.ndarray:
    """Building footprints on the image's grid, uint8 (h, w); their file is in degrees."""
    if image.crs is None:
        raise RecordError(
            f"{image.path} has no coordinate system to lay its footprints on; fetch the file again"
        )
    try:
        outlines = [
            feature["geometry"]
            for feature in json.loads(outline.read_text(encoding="utf-8"))["features"]
        ]
        shapes = [
            transform_geom("EPSG:4326", image.crs, o) for o in outlines if o and o["coordinates"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(
            f"{outline} is not a feature collection ({error}); fetch the file again"
        ) from error
    shape = image.values.shape[1:]
    return (
        rasterize(shapes, shape, transform=image.transform, dtype=np.uint8)
        if shapes
        else np.zeros(shape, np.uint8)
    )


LAYOUTS = (
    Layout(
        "chesapeake_cvpr", "Chesapeake Land Cover, CVPR 2019 (doi:10.1109/CVPR.2019.01301)",
        "imagery public domain (NAIP); labels by the Chesapeake Conservancy, footprints by Microsoft, terms at LILA",
        "https://lila.science/datasets/chesapeakelandcover", _holds_chesapeake, _chesapeake_items,
    ),
    Layout(
        "globe230k", "Globe230k v3 (doi:10.34133/remotesensing.0078)", "CC-BY-4.0",
        "https://zenodo.org/records/10435661", _holds_globe230k, _globe230k_items,
    ),
    Layout(
        "gid15", "Gaofen Image Dataset with 15 categories (doi:10.1016/j.rse.2019.111322)",
        "research use; none stated", "https://captain-whu.github.io/GID15/", _holds_gid15, _gid15_items,
    ),
    Layout(
        "spacenet2", "SpaceNet 2, building footprints of four cities (arXiv:1807.01232)", "CC-BY-SA-4.0",
        "https://spacenet.ai/spacenet-buildings-dataset-v2/", _holds_spacenet2, _spacenet2_items,
    ),
)  # fmt: skip
