"""Sentinel-2 data sets with labels as they are published: Sen1Floods11, DFC2020, SegMunich, LandCoverNet."""

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
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split, Truth
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError

SENTINEL = "sentinel-2a"
_BAND = re.compile(r"(?:^|_)(B(?:\d\d|8A))(?:_\d\dm)?\.tif$")
# Scene classes of Sen2Cor; unseen are no data, and saturated or defective.
_UNSEEN, _CLOUD_SHADOW, _CLOUD_MEDIUM, _CLOUD_HIGH, _CIRRUS, _SNOW = (0, 1), 3, 8, 9, 10, 11


def _hand_labelled(root: Path) -> Path:
    inside = ("data/flood_events/HandLabeled", "v1.1/data/flood_events/HandLabeled")
    return next((root / path for path in inside if (root / path).is_dir()), root)


def _holds_floods(root: Path) -> bool:
    folder = _hand_labelled(root)
    return (folder / "S2Hand").is_dir() and (folder / "LabelHand").is_dir()


def _flood_items(root: Path) -> Iterator[SceneItem]:
    """Hand-labelled water of 11 floods; a country is one place, since the published lists split within floods."""
    folder = _hand_labelled(root)
    for path in sorted((folder / "S2Hand").glob("*_S2Hand.tif")):
        name = path.name.removesuffix("_S2Hand.tif")
        reader = partial(_flood_chips, path, folder / f"LabelHand/{name}_LabelHand.tif", name)
        place = name.rsplit("_", 1)[0]
        yield SceneItem(
            id=f"sen1floods11_{name}", read=reader, place=place, footprint=footprint(path)
        )


def _flood_chips(path: Path, label: Path, name: str, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path), legend_truth(codes, legend("sen1floods11"), str(label)), id=f"sen1floods11_{name}",
        sensor=SENTINEL, bands=sensor_bands(SENTINEL), level="toa", gsd_m=10, scale=1e-4, zero_is_gap=True,
        labels="water drawn by hand (Sen1Floods11)",
    )  # fmt: skip


def _holds_dfc2020(root: Path) -> bool:
    return any(root.glob("ROIs0000_*/s2_*")) and any(root.glob("ROIs0000_*/dfc_*"))


def _dfc2020_items(root: Path) -> Iterator[SceneItem]:
    """Chips of seven regions with semi-manual labels at 10 m; neighbours are found by their footprints."""
    for path in sorted(root.glob("ROIs0000_*/s2_*/*.tif")):
        folder = path.parent.with_name(path.parent.name.replace("s2_", "dfc_", 1))
        label, box = folder / path.name.replace("_s2_", "_dfc_", 1), footprint(path)
        reader = partial(_dfc2020_chips, path, label)
        place = None if box else path.stem.rsplit("_p", 1)[0]
        yield SceneItem(id=f"dfc2020_{path.stem}", read=reader, place=place, footprint=box)


def _dfc2020_chips(path: Path, label: Path, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path), legend_truth(codes, legend("dfc2020"), str(label)), id=f"dfc2020_{path.stem}",
        sensor=SENTINEL, bands=sensor_bands(SENTINEL), level="toa", gsd_m=10, scale=1e-4, zero_is_gap=True,
        labels="simplified IGBP classes at 10 m (DFC2020)",
    )  # fmt: skip


def _munich_root(root: Path) -> Path:
    return root / "TUM_128" if (root / "TUM_128").is_dir() else root


def _holds_segmunich(root: Path) -> bool:
    base = _munich_root(root)
    return (
        (base / "dataset/train.txt").is_file()
        and (base / "train/img").is_dir()
        and (base / "train/label").is_dir()
    )


def _segmunich_items(root: Path) -> Iterator[SceneItem]:
    """Overlapping patches of one mosaic of Munich: one place, all for training, whatever the published lists say."""
    base = _munich_root(root)
    for part in ("train", "val"):
        for name in (base / f"dataset/{part}.txt").read_text().split():
            reader = partial(_segmunich_chips, base / part, name)
            yield SceneItem(id=f"segmunich_{name}", read=reader, place="munich", split="train")


def _segmunich_chips(folder: Path, name: str, split: Split) -> Iterator[Chip]:
    label = folder / f"label/{name}.tif"
    bands = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
    yield from labelled_chips(
        read(folder / f"img/{name}.tif"), legend_truth(read(label, (1,)).values[0], legend("segmunich"), str(label)),
        id=f"segmunich_{name}", sensor=SENTINEL, bands=sensor_bands(SENTINEL, bands), level="surface", gsd_m=10,
        scale=1e-4, labels="land-use classes (SegMunich)",
    )  # fmt: skip


def _label_folders(root: Path) -> list[Path]:
    return [
        path.parent
        for path in sorted(root.glob("ref_landcovernet_*v1_labels/*_labels_*/labels.tif"))
    ]


def _landcovernet_items(root: Path) -> Iterator[SceneItem]:
    """Chips of Sentinel-2 tiles with one label a year; a tile is one place."""
    dates: dict[str, list[Path]] = defaultdict(list)
    collections = ("ref_landcovernet_*v1_source", "ref_landcovernet_*v1_source_sentinel_2")
    for path in sorted(path for name in collections for path in root.glob(f"{name}/*_????????")):
        dates["_".join(path.name.split("_")[-3:-1])].append(path)
    for folder in _label_folders(root):
        name = "_".join(folder.name.split("_")[-2:])
        reader = partial(_landcovernet_chips, folder, tuple(dates[name]), name)
        box = footprint(folder / "labels.tif")
        yield SceneItem(
            id=f"landcovernet_{name}", read=reader, place=name.split("_")[0], footprint=box
        )


def _landcovernet_chips(
    folder: Path, dates: tuple[Path, ...], name: str, split: Split
) -> Iterator[Chip]:
    """The clearest date of each quarter. A label holds for the year, clouds and snow for their date."""
    if not dates:
        raise RecordError(
            f"{folder} has no Sentinel-2 dates beside it; fetch the source collection too"
        )
    label = read(folder / "labels.tif").values
    codes, agreement = label[0], label[1] if len(label) > 1 else np.full_like(label[0], 100)
    truth = hide_unknown(legend_truth(codes, legend("landcovernet"), str(folder)), agreement <= 50)
    quarters: dict[int, tuple[float, Path, np.ndarray]] = {}
    for date in dates:
        scene = read(_only(date, "SCL")).values[0]
        murky = float(
            np.isin(scene, (*_UNSEEN, _CLOUD_SHADOW, _CLOUD_MEDIUM, _CLOUD_HIGH, _CIRRUS)).mean()
        )
        quarter = (int(date.name[-4:-2]) - 1) // 3
        if murky < 0.5 and murky < quarters.get(quarter, (1.0,))[0]:
            quarters[quarter] = murky, date, scene
    if not quarters:
        raise RecordError(f"{folder}: no date is half clear; take the chip out")
    for _, date, scene in quarters.values():
        image = _stack(date)
        yield from labelled_chips(
            image, _on_the_day(truth, scene), id=f"landcovernet_{name}_{date.name[-8:]}", sensor=SENTINEL,
            bands=sensor_bands(SENTINEL, [band or "" for band in image.names]), level="surface", gsd_m=10, scale=1e-4,
            zero_is_gap=True, labels="consensus of experts for the year (LandCoverNet), clouds and snow by Sen2Cor",
        )  # fmt: skip


def _on_the_day(truth: Truth, scene: np.ndarray) -> Truth:
    cloud, haze = scene == _CLOUD_HIGH, np.isin(scene, (_CLOUD_MEDIUM, _CIRRUS))
    shadow, snow = scene == _CLOUD_SHADOW, scene == _SNOW
    seen = hide_unknown(truth, cloud | haze | shadow | snow | np.isin(scene, _UNSEEN))
    return seen | {"cloud": (cloud, haze), "cloud_shadow": (shadow, cloud | haze)}


def _only(folder: Path, name: str) -> Path:
    return next(folder.glob(f"*{name}*.tif"), folder / f"{name}.tif")


def _stack(folder: Path) -> LayoutRaster:
    """One raster of a date's bands, each of which is its own file, in the order of their wavelengths."""
    order = [band.name for band in sensor_bands(SENTINEL)]
    found = {match[1]: path for path in folder.glob("*.tif") if (match := _BAND.search(path.name))}
    names = [name for name in order if name in found]
    if not {"B02", "B03", "B04", "B08"} <= set(names):
        raise RecordError(
            f"{folder} holds the bands {', '.join(names) or 'none'}; fetch the others of the date too"
        )
    planes = [read(found[name], (1,)) for name in names]
    odd = next((p for p in planes if p.values.shape != planes[0].values.shape), None)
    if odd is not None:
        raise RecordError(
            f"{odd.path} has another size than {planes[0].path}; fetch the date again"
        )
    return LayoutRaster(
        folder, np.concatenate([p.values for p in planes]), planes[0].nodata, planes[0].crs, planes[0].transform,
        tuple(names),
    )  # fmt: skip


def _holds_landcovernet(root: Path) -> bool:
    return bool(_label_folders(root))


LAYOUTS = (
    Layout(
        "sen1floods11", "Sen1Floods11 v1.1, hand-labelled Sentinel-2 chips (doi:10.1109/CVPRW50498.2020.00113)",
        "none stated; Copernicus Sentinel data, free and open", "https://github.com/cloudtostreet/Sen1Floods11",
        _holds_floods, _flood_items,
    ),
    Layout(
        "dfc2020", "IEEE GRSS Data Fusion Contest 2020 (doi:10.21227/rha7-m332)", "CC-BY-4.0",
        "https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest", _holds_dfc2020, _dfc2020_items,
    ),
    Layout(
        "segmunich", "SegMunich of SpectralGPT, TUM_128 (doi:10.1109/TPAMI.2024.3362475)", "none stated",
        "https://github.com/danfenghong/IEEE_TPAMI_SpectralGPT", _holds_segmunich, _segmunich_items,
    ),
    Layout(
        "landcovernet", "LandCoverNet v1 (doi:10.34911/rdnt.d2ce8i)", "CC-BY-4.0",
        "https://doi.org/10.34911/rdnt.d2ce8i", _holds_landcovernet, _landcovernet_items,
    ),
)  # fmt: skip
