"""Sentinel-2 data sets as they are published: Sen1Floods11, DFC2020 and SegMunich."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from instruction_data.layouts.rasters import footprint, labelled_chips, read, sensor_bands
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split
from instruction_data.sources.legends import legend, legend_truth

SENTINEL = "sentinel-2a"
_MUNICH_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")


def _hand_labelled(root: Path) -> Path:
    subfolders = ("data/flood_events/HandLabeled", "v1.1/data/flood_events/HandLabeled")
    return next((root / path for path in subfolders if (root / path).is_dir()), root)


def _matches_sen1floods11(root: Path) -> bool:
    folder = _hand_labelled(root)
    return (folder / "S2Hand").is_dir() and (folder / "LabelHand").is_dir()


def _sen1floods11_items(root: Path) -> Iterator[SceneItem]:
    """Hand-labelled water of 11 floods.

    A country is one place: the published lists split within floods.
    """
    folder = _hand_labelled(root)
    for path in sorted((folder / "S2Hand").glob("*_S2Hand.tif")):
        name = path.name.removesuffix("_S2Hand.tif")
        label = folder / f"LabelHand/{name}_LabelHand.tif"
        yield SceneItem(
            id=f"sen1floods11_{name}",
            read=partial(_sen1floods11_chips, path, label, name),
            place=name.rsplit("_", 1)[0],
            footprint=footprint(path),
        )


def _sen1floods11_chips(path: Path, label: Path, name: str, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path),
        legend_truth(codes, legend("sen1floods11"), str(label)),
        id=f"sen1floods11_{name}",
        sensor=SENTINEL,
        bands=sensor_bands(SENTINEL),
        level="toa",
        gsd_m=10,
        scale=1e-4,
        zero_is_gap=True,
        labels="water drawn by hand (Sen1Floods11)",
    )


def _matches_dfc2020(root: Path) -> bool:
    return any(root.glob("ROIs0000_*/s2_*")) and any(root.glob("ROIs0000_*/dfc_*"))


def _dfc2020_items(root: Path) -> Iterator[SceneItem]:
    """Chips of seven regions with semi-manual labels at 10 m; footprints show neighbours."""
    for path in sorted(root.glob("ROIs0000_*/s2_*/*.tif")):
        folder = path.parent.with_name(path.parent.name.replace("s2_", "dfc_", 1))
        label = folder / path.name.replace("_s2_", "_dfc_", 1)
        extent = footprint(path)
        yield SceneItem(
            id=f"dfc2020_{path.stem}",
            read=partial(_dfc2020_chips, path, label),
            place=None if extent else path.stem.rsplit("_p", 1)[0],
            footprint=extent,
        )


def _dfc2020_chips(path: Path, label: Path, split: Split) -> Iterator[Chip]:
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        read(path),
        legend_truth(codes, legend("dfc2020"), str(label)),
        id=f"dfc2020_{path.stem}",
        sensor=SENTINEL,
        bands=sensor_bands(SENTINEL),
        level="toa",
        gsd_m=10,
        scale=1e-4,
        zero_is_gap=True,
        labels="simplified IGBP classes at 10 m (DFC2020)",
    )


def _munich_root(root: Path) -> Path:
    return root / "TUM_128" if (root / "TUM_128").is_dir() else root


def _matches_segmunich(root: Path) -> bool:
    base = _munich_root(root)
    folders = (base / "train/img", base / "train/label")
    return (base / "dataset/train.txt").is_file() and all(folder.is_dir() for folder in folders)


def _segmunich_items(root: Path) -> Iterator[SceneItem]:
    """Overlapping patches of one mosaic of Munich: one place, all of it for training."""
    base = _munich_root(root)
    for part in ("train", "val"):
        for name in (base / f"dataset/{part}.txt").read_text().split():
            reader = partial(_segmunich_chips, base / part, name)
            yield SceneItem(id=f"segmunich_{name}", read=reader, place="munich", split="train")


def _segmunich_chips(folder: Path, name: str, split: Split) -> Iterator[Chip]:
    image = read(folder / f"img/{name}.tif")
    label = folder / f"label/{name}.tif"
    codes = read(label, (1,)).values[0]
    yield from labelled_chips(
        image,
        legend_truth(codes, legend("segmunich"), str(label)),
        id=f"segmunich_{name}",
        sensor=SENTINEL,
        bands=sensor_bands(SENTINEL, _MUNICH_BANDS),
        level="surface",
        gsd_m=10,
        scale=1e-4,
        labels="land-use classes (SegMunich)",
    )


LAYOUTS = (
    Layout(
        name="sen1floods11",
        title="Sen1Floods11 v1.1, hand-labelled Sentinel-2 chips "
        "(doi:10.1109/CVPRW50498.2020.00113)",
        licence="none stated; Copernicus Sentinel data, free and open",
        url="https://github.com/cloudtostreet/Sen1Floods11",
        matches=_matches_sen1floods11,
        items=_sen1floods11_items,
    ),
    Layout(
        name="dfc2020",
        title="IEEE GRSS Data Fusion Contest 2020 (doi:10.21227/rha7-m332)",
        licence="CC-BY-4.0",
        url="https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest",
        matches=_matches_dfc2020,
        items=_dfc2020_items,
    ),
    Layout(
        name="segmunich",
        title="SegMunich of SpectralGPT, TUM_128 (doi:10.1109/TPAMI.2024.3362475)",
        licence="none stated",
        url="https://github.com/danfenghong/IEEE_TPAMI_SpectralGPT",
        matches=_matches_segmunich,
        items=_segmunich_items,
    ),
)
