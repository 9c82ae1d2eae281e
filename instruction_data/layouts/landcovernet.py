"""LandCoverNet: chips of Sentinel-2 tiles with one label a year and dates in a folder each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from instruction_data.layouts.rasters import (
    LayoutRaster,
    footprint,
    hide_unknown,
    labelled_chips,
    read,
    sensor_bands,
)
from instruction_data.layouts.sentinel import SENTINEL
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split, Truth
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError

_BAND_FILE = re.compile(r"(?:^|_)(B(?:\d\d|8A))(?:_\d\dm)?\.tif$")
_COLLECTIONS = ("ref_landcovernet_*v1_source", "ref_landcovernet_*v1_source_sentinel_2")
_REQUIRED_BANDS = {"B02", "B03", "B04", "B08"}
_MIN_AGREEMENT = 50  # per cent of the experts
_MAX_MURKY = 0.5  # fraction of a date under clouds, haze or shadow
# Scene classes of Sen2Cor.
_NOT_MEASURED = (0, 1)  # no data; saturated or defective
_CLOUD_SHADOW = 3
_CLOUD_MEDIUM = 8
_CLOUD_HIGH = 9
_CIRRUS = 10
_SNOW = 11


def _label_folders(root: Path) -> list[Path]:
    labels = root.glob("ref_landcovernet_*v1_labels/*_labels_*/labels.tif")
    return [path.parent for path in sorted(labels)]


def _matches(root: Path) -> bool:
    return bool(_label_folders(root))


def _items(root: Path) -> Iterator[SceneItem]:
    """Chips of Sentinel-2 tiles; a tile is one place."""
    date_folders: list[Path] = []
    for collection in _COLLECTIONS:
        date_folders += root.glob(f"{collection}/*_????????")
    dates: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(date_folders):
        dates["_".join(path.name.split("_")[-3:-1])].append(path)
    for folder in _label_folders(root):
        name = "_".join(folder.name.split("_")[-2:])
        yield SceneItem(
            id=f"landcovernet_{name}",
            read=partial(_chips, folder, tuple(dates[name]), name),
            place=name.split("_")[0],
            footprint=footprint(folder / "labels.tif"),
        )


def _chips(folder: Path, dates: tuple[Path, ...], name: str, split: Split) -> Iterator[Chip]:
    """The clearest date of each quarter.

    The label is valid for the year, clouds and snow for their date.
    """
    if not dates:
        raise RecordError(
            f"{folder} has no Sentinel-2 dates beside it; download the source collection too"
        )
    label = read(folder / "labels.tif").values
    truth = legend_truth(label[0], legend("landcovernet"), str(folder))
    if len(label) > 1:
        truth = hide_unknown(truth, label[1] <= _MIN_AGREEMENT)
    clearest = _clearest_dates(dates)
    if not clearest:
        raise RecordError(f"{folder}: no date is half clear; remove the chip")
    for date, scene_class in clearest:
        image = _stack_bands(date)
        yield from labelled_chips(
            image,
            _truth_on_date(truth, scene_class),
            id=f"landcovernet_{name}_{date.name[-8:]}",
            sensor=SENTINEL,
            bands=sensor_bands(SENTINEL, [band or "" for band in image.names]),
            level="surface",
            gsd_m=10,
            scale=1e-4,
            zero_is_gap=True,
            labels="consensus of experts for the year (LandCoverNet), clouds and snow by Sen2Cor",
        )


def _clearest_dates(dates: tuple[Path, ...]) -> list[tuple[Path, np.ndarray]]:
    """The clearest date of each quarter with its scene classes (h, w)."""
    murky_classes = (*_NOT_MEASURED, _CLOUD_SHADOW, _CLOUD_MEDIUM, _CLOUD_HIGH, _CIRRUS)
    clearest: dict[int, tuple[float, Path, np.ndarray]] = {}
    for date in dates:
        scene_class = read(_layer_file(date, "SCL")).values[0]
        murky = float(np.isin(scene_class, murky_classes).mean())
        quarter = (int(date.name[-4:-2]) - 1) // 3
        if murky >= _MAX_MURKY:
            continue
        if quarter not in clearest or murky < clearest[quarter][0]:
            clearest[quarter] = murky, date, scene_class
    return [(date, scene_class) for _, date, scene_class in clearest.values()]


def _truth_on_date(truth: Truth, scene_class: np.ndarray) -> Truth:
    cloud = scene_class == _CLOUD_HIGH
    haze = np.isin(scene_class, (_CLOUD_MEDIUM, _CIRRUS))
    shadow = scene_class == _CLOUD_SHADOW
    snow = scene_class == _SNOW
    not_measured = np.isin(scene_class, _NOT_MEASURED)
    visible = hide_unknown(truth, cloud | haze | shadow | snow | not_measured)
    return visible | {"cloud": (cloud, haze), "cloud_shadow": (shadow, cloud | haze)}


def _layer_file(folder: Path, name: str) -> Path:
    return next(folder.glob(f"*{name}*.tif"), folder / f"{name}.tif")


def _stack_bands(folder: Path) -> LayoutRaster:
    """One raster of the bands of a date, which have a file each, in order of wavelength."""
    path_by_band: dict[str, Path] = {}
    for path in folder.glob("*.tif"):
        if match := _BAND_FILE.search(path.name):
            path_by_band[match[1]] = path
    names = [band.name for band in sensor_bands(SENTINEL) if band.name in path_by_band]
    if not set(names) >= _REQUIRED_BANDS:
        listed = ", ".join(names) or "none"
        raise RecordError(
            f"{folder} contains the bands {listed}; download the other bands of the date too"
        )
    planes = [read(path_by_band[name], (1,)) for name in names]
    for plane in planes:
        if plane.values.shape != planes[0].values.shape:
            raise RecordError(
                f"{plane.path} has another size than {planes[0].path}; download the date again"
            )
    return LayoutRaster(
        path=folder,
        values=np.concatenate([plane.values for plane in planes]),
        nodata=planes[0].nodata,
        crs=planes[0].crs,
        transform=planes[0].transform,
        names=tuple(names),
    )


LAYOUTS = (
    Layout(
        name="landcovernet",
        title="LandCoverNet v1 (doi:10.34911/rdnt.d2ce8i)",
        licence="CC-BY-4.0",
        url="https://doi.org/10.34911/rdnt.d2ce8i",
        matches=_matches,
        items=_items,
    ),
)
