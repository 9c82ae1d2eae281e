"""Sentinel-2 data sets in the layout in which they are published, written small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from instruction_data.layouts import LAYOUTS, detect
from instruction_data.sources.chips import Chip, SceneItem, complete_truth
from spex.errors import RecordError, SceneError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write values (C, h, w) under the layout's root as a georeferenced raster."""

    def write(name: str, values: np.ndarray, *, west: float = 500_000, **profile: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        count, height, width = values.shape
        options = {
            "driver": "GTiff",
            "count": count,
            "height": height,
            "width": width,
            "dtype": values.dtype,
            "crs": CRS.from_epsg(32633),
            "transform": from_origin(west, 5_300_000, 10, 10),
        }
        with rasterio.open(path, "w", **{**options, **profile}) as raster:
            raster.write(values)
        return path

    return write


def sentinel(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(200, 4000, (count, side, side)).astype(np.uint16)


def items(root: Path) -> list[SceneItem]:
    source = detect(root)
    assert source
    return list(source.items(root))


def only(item: SceneItem) -> Chip:
    (chip,) = item.read("train")
    return chip


def test_sen1floods11(write: Write, tmp_path: Path) -> None:
    hand = "v1.1/data/flood_events/HandLabeled"
    label = np.zeros((1, 32, 32), np.int16)
    label[0, :8], label[0, 8:12] = 1, -1
    values = sentinel(13)
    values[10, :4], values[:, 30:] = 0, 0  # no cirrus over the lake; the swath ends in the south
    for name in ("Ghana_103272", "Ghana_5079", "Bolivia_23014"):
        write(f"{hand}/S2Hand/{name}_S2Hand.tif", values)
        write(f"{hand}/S1Hand/{name}_S1Hand.tif", np.zeros((2, 32, 32), np.float32))
        write(f"{hand}/LabelHand/{name}_LabelHand.tif", label)
    found = {item.id: item for item in items(tmp_path)}
    assert {item.place for item in found.values()} == {"Ghana", "Bolivia"}
    chip = only(found["sen1floods11_Ghana_103272"])
    assert len(chip.bands) == 13 and chip.level == "toa" and chip.scale == 1e-4
    assert ((chip.values == chip.nodata).any(axis=0) == (np.arange(32) >= 30)[:, None]).all()
    mask, unknown = chip.truth["water"]
    assert (
        mask[:8].all()
        and not mask[8:].any()
        and unknown[8:12].all()
        and unknown.sum() == (4 + 2) * 32
    )
    assert set(complete_truth(chip.truth)) == {"water"}, "what is not water may be anything else"
    (tmp_path / hand / "LabelHand/Ghana_5079_LabelHand.tif").unlink()
    with pytest.raises(SceneError, match="Ghana_5079_LabelHand"):
        only(found["sen1floods11_Ghana_5079"])


def test_dfc2020(write: Write, tmp_path: Path) -> None:
    label = np.full((1, 32, 32), 6, np.uint8)
    label[0, :8], label[0, 8:12], label[0, 12:16] = 10, 3, 0
    for season, number, west in (
        ("autumn", 1, 500_000),
        ("autumn", 2, 500_320),
        ("winter", 1, 700_000),
    ):
        write(
            f"ROIs0000_{season}/s2_100/ROIs0000_{season}_s2_100_p{number}.tif",
            sentinel(13),
            west=west,
        )
        write(
            f"ROIs0000_{season}/dfc_100/ROIs0000_{season}_dfc_100_p{number}.tif", label, west=west
        )
    first, second, third = items(tmp_path)
    assert first.footprint and second.footprint and third.footprint
    assert (
        first.footprint[2] == pytest.approx(second.footprint[0], abs=1e-5)
        and third.footprint[0] > 16
    )
    truth = complete_truth(only(first).truth)
    assert (
        truth["water"][0][:8].all()
        and truth["cropland"][0][16:].all()
        and not truth["water"][1][:12].any()
    )
    assert truth["tree_cover"][1][8:12].all() and not truth["built_up"][1][8:12].any(), (
        "savanna may hold trees"
    )
    assert all(unknown[12:16].all() for _, unknown in truth.values())
    write(
        "ROIs0000_winter/dfc_100/ROIs0000_winter_dfc_100_p1.tif", np.full((1, 32, 32), 77, np.uint8)
    )
    with pytest.raises(RecordError, match="77"):
        only(third)


def test_segmunich(write: Write, tmp_path: Path) -> None:
    label = np.full((1, 32, 32), 21, np.uint8)
    label[0, :8], label[0, 8:12] = 5, 0
    lists = {"train": ("munich_0_0", "munich_0_64"), "val": ("munich_64_0",)}
    for part, names in lists.items():
        for name in names:
            write(f"TUM_128/{part}/img/{name}.tif", sentinel(10).astype(np.float32), crs=None)
            write(f"TUM_128/{part}/label/{name}.tif", label, crs=None)
    (tmp_path / "TUM_128/dataset").mkdir()
    for part, names in lists.items():
        (tmp_path / f"TUM_128/dataset/{part}.txt").write_text("\n".join(names))
    first, second, third = items(tmp_path)
    assert {item.place for item in (first, second, third)} == {"munich"} and third.split == "train"
    chip = only(third)
    assert [band.name for band in chip.bands][-3:] == ["B8A", "B11", "B12"] and chip.bands[
        0
    ].wavelength_nm == 442.69
    assert chip.truth["water"][0][:8].all() and chip.truth["cropland"][0][12:].all()
    assert chip.truth["cropland"][1][8:12].all()
    write("TUM_128/train/img/munich_0_64.tif", sentinel(4).astype(np.float32), crs=None)
    with pytest.raises(RecordError, match=r"munich_0_64\.tif has 4 bands, its layout 10"):
        only(second)


@pytest.mark.parametrize(
    ("collection", "source", "suffix"),
    [
        ("ref_landcovernet_v1", "source", ""),
        ("ref_landcovernet_eu_v1", "source_sentinel_2", "_10m"),
    ],
)
def test_landcovernet(
    write: Write, tmp_path: Path, collection: str, source: str, suffix: str
) -> None:
    def date(name: str, scene: int, day: str) -> None:
        folder = f"{collection}_{source}/{collection}_{source}_{name}_{day}"
        classes = np.full((1, 32, 32), scene, np.uint8)
        classes[0, :, 28:] = 9
        write(f"{folder}/SCL{suffix}.tif", classes)
        for band in ("B02", "B03", "B04", "B08", "B8A", "B11", "B12"):
            write(f"{folder}/{band}{suffix}.tif", sentinel(1))

    label = np.full((2, 32, 32), 6, np.uint8)
    label[0, :8], label[1], label[1, 8:12] = 1, 100, 34
    for name in ("29PKL_04", "29PKL_11"):
        path = write(f"{collection}_labels/{collection}_labels_{name}/labels.tif", label)
        path.with_name("source_dates.csv").write_text("29PKL\n20180105\n20180120\n")
    for scene, day in ((8, "20180105"), (4, "20180120"), (4, "20180704"), (3, "20181011")):
        date("29PKL_04", scene, day)
    first, second = items(tmp_path)
    assert first.place == second.place == "29PKL"
    winter, summer = first.read("train")
    assert winter.id == "landcovernet_29PKL_04_20180120" and summer.id.endswith("20180704"), (
        "the clearest of a quarter"
    )
    assert [band.name for band in summer.bands] == ["B02", "B03", "B04", "B08", "B8A", "B11", "B12"]
    truth = complete_truth(summer.truth)
    assert (
        truth["water"][0][:8, :28].all()
        and truth["water"][1][:, 28:].all()
        and truth["water"][1][8:12].all()
    )
    assert truth["cloud"][0][:, 28:].all() and not truth["cloud"][1].any()
    assert truth["cropland"][0][12:, :28].all()
    with pytest.raises(RecordError, match="no Sentinel-2 dates"):
        only(second)


def test_every_published_layout_says_what_a_card_needs() -> None:
    published = (
        "chesapeake_cvpr",
        "globe230k",
        "segmunich",
        "spacenet2",
        "gid15",
        "sen1floods11",
        "dfc2020",
    )
    assert set(published) < set(LAYOUTS) and "landcovernet" in LAYOUTS
    for name, source in LAYOUTS.items():
        assert (
            source.name == name
            and source.title
            and source.licence
            and source.url.startswith("https://")
        )
