"""High-resolution data sets in the layouts in which they are published, written small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import from_bounds, from_origin
from shapely.geometry import box, mapping

from instruction_data.layouts import detect
from instruction_data.sources.chips import Chip, SceneItem, complete_truth
from spex.errors import RecordError, SceneError


def write(path: Path, values: np.ndarray, driver: str = "GTiff", **profile: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    options = {"count": count, "height": height, "width": width, "dtype": values.dtype, **profile}
    with rasterio.open(path, "w", driver=driver, **options) as raster:
        raster.write(values)
    return path


def noise(count: int, height: int, width: int | None = None, top: int = 255) -> np.ndarray:
    kind = np.uint8 if top < 256 else np.uint16
    return (
        np.random.default_rng(height)
        .integers(1, top, (count, height, width or height))
        .astype(kind)
    )


def items(root: Path) -> list[SceneItem]:
    source = detect(root)
    assert source
    return list(source.items(root))


def chips(item: SceneItem) -> list[Chip]:
    return list(item.read("train"))


def test_chesapeake(tmp_path: Path) -> None:
    utm = {"crs": CRS.from_epsg(26918), "transform": from_origin(400_000, 4_200_000, 1, 1)}
    folder = tmp_path / "md_1m_2013_extended-debuffered-train_tiles"
    cover = np.full((1, 300, 520), 2, np.uint8)
    cover[0, :50] = 1
    for first, code in ((50, 3), (60, 5), (70, 6), (80, 15)):
        cover[0, first : first + 10] = code
    roofs = np.zeros_like(cover)
    roofs[0, 60:65] = 1
    for name, values in {
        "naip-new": noise(4, 300, 520),
        "naip-old": noise(4, 300, 520) // 2,
        "lc": cover,
        "buildings": roofs,
        "nlcd": cover,
        "landsat-leaf-on": noise(9, 300, 520, 9000),
        "landsat-leaf-off": noise(9, 300, 520, 9000),
    }.items():
        write(folder / f"m_3807503_ne_18_1_{name}.tif", values, **utm)
    (tmp_path / "spatial_index.geojson").write_text("{}")
    top, bottom = items(tmp_path)
    assert (
        top.footprint
        and top.footprint == bottom.footprint
        and top.footprint[0] == pytest.approx(-76.14, abs=0.01)
    )
    new, old, *rest = chips(top)
    assert len(rest) == 4, "three columns of chips at two dates"
    assert new.values.shape == (4, 256, 256) and (new.values // 2 == old.values).all()
    assert new.level == "uncalibrated" and new.transform == Affine(1, 0, 400_000, 0, -1, 4_200_000)
    truth = complete_truth(new.truth)
    assert (
        truth["water"][0][:50].all()
        and truth["tree_cover"][0][100:].all()
        and truth["building"][0][60:65].all()
    )
    assert truth["grassland"][1][50:60].all() and truth["vegetation"][0][50:60].all()
    assert truth["road"][0][70:80].all() and truth["road"][1][60:70].all()
    assert all(
        truth[name][1][80:90].all()
        for name in ("water", "vegetation", "bare", "built_up", "road", "building")
    )
    (folder / "m_3807503_ne_18_1_lc.tif").write_bytes(b"II*\0")
    with pytest.raises(SceneError, match=r"_lc\.tif cannot be read"):
        chips(bottom)


def test_globe230k(tmp_path: Path) -> None:
    label = np.full((1, 512, 512), 1, np.uint8)
    label[0, :100], label[0, 100:200], label[0, 200:210] = 6, 7, 0
    for number in range(4):
        write(tmp_path / f"image_patch/{number}.jpg", noise(3, 512), "JPEG")
        write(tmp_path / f"label_patch/{number}.png", label, "PNG")
    for part, number in (("train", 0), ("val", 1), ("test", 2)):
        (tmp_path / f"{part}.csv").write_text(f"{number}.jpg\n")
    first, second, third = items(tmp_path)
    assert [item.split for item in (first, second, third)] == ["train", "val", None], (
        "what is for testing is left out"
    )
    (chip,) = chips(first)
    assert [band.name for band in chip.bands] == ["R", "G", "B"] and chip.scale == pytest.approx(
        1 / 255
    )
    truth = complete_truth(chip.truth)
    assert (
        truth["water"][0][:100].all()
        and truth["cropland"][0][210:].all()
        and not truth["water"][0][100:].any()
    )
    assert truth["bare"][1][100:200].all() and all(
        unknown[200:210].all() for _, unknown in truth.values()
    )
    write(tmp_path / "label_patch/1.png", label[:, :256], "PNG")
    with pytest.raises(RecordError, match="512 x 512 pixels, its label 256 x 512"):
        chips(second)
    whole = (tmp_path / "image_patch/3.jpg").read_bytes()
    (tmp_path / "image_patch/3.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"3\.jpg cannot be read"):
        chips(third)


def test_gid15_by_colour(tmp_path: Path) -> None:
    root = tmp_path / "Fine Land-cover Classification_15classes"
    colours = np.zeros((3, 300, 270), np.uint8)
    colours[:, :100] = np.array([0, 150, 200])[:, None, None]  # lake
    colours[:, 100:120] = np.array([200, 0, 0])[:, None, None]  # industry
    for name in ("GF2_PMS1__20150212_L1A0000647768-MSS1", "GF2_PMS2__20150212_L1A0000647770-MSS2"):
        write(root / f"image_NirRGB/{name}.tif", noise(4, 300, 270))
        write(root / f"image_RGB/{name}.tif", noise(3, 300, 270))
        write(root / f"label_15classes/{name}_label.tif", colours)
    found = items(root)
    assert {item.place for item in found} == {"20150212"} and len(found) == 4
    chip, *_ = chips(found[0])
    assert [band.name for band in chip.bands] == [
        "NIR",
        "Red",
        "Green",
        "Blue",
    ] and chip.values.shape == (4, 256, 256)
    truth = complete_truth(chip.truth)
    assert (
        truth["water"][0][:100].all()
        and truth["built_up"][0][100:120].all()
        and truth["water"][1][120:].all()
    )
    colours[:, 0, 0] = 1, 2, 3
    write(root / "label_15classes/GF2_PMS1__20150212_L1A0000647768-MSS1_label.tif", colours)
    with pytest.raises(RecordError, match="#010203"):
        chips(found[0])


def test_gid15_by_number(tmp_path: Path) -> None:
    codes = np.full((1, 256, 256), 5, np.uint8)
    codes[0, :50], codes[0, 50:60] = 9, 0
    for part, name in (("train", "GF2_1"), ("val", "GF2_2"), ("test", "GF2_3")):
        write(tmp_path / f"img_dir/{part}/{name}.tif", noise(3, 256))
        if part != "test":
            write(tmp_path / f"ann_dir/{part}/{name}_15label.png", codes, "PNG")
    first, second = items(tmp_path)
    assert (first.place, second.place) == ("GF2_1", "GF2_2")
    (chip,) = chips(first)
    truth = complete_truth(chip.truth)
    assert [band.name for band in chip.bands] == ["Red", "Green", "Blue"]
    assert truth["tree_cover"][0][:50].all() and truth["cropland"][1][60:].all(), (
        "a paddy may be under water"
    )


@pytest.mark.parametrize(
    ("folder", "pansharpened", "outlines"),
    [
        ("SN2_buildings_train_AOI_2_Vegas", "PS-MS", "geojson_buildings"),
        ("AOI_2_Vegas_Train", "MUL-PanSharpen", "geojson/buildings"),
    ],
)
def test_spacenet2(tmp_path: Path, folder: str, pansharpened: str, outlines: str) -> None:
    root, bounds = tmp_path / folder, (-115.30, 36.10, -115.298, 36.102)
    prefix = f"{folder}_" if folder.startswith("SN2") else ""
    house = mapping(box(-115.2995, 36.1010, -115.2990, 36.1015))
    feature = {"type": "Feature", "properties": {}, "geometry": house}
    for number, features in ((1, [feature]), (2, []), (10, [])):
        for kind, side in (
            (pansharpened, 64),
            (pansharpened.replace("PS-MS", "MS").replace("-PanSharpen", ""), 16),
        ):
            name = (
                f"{prefix}{kind}_img{number}.tif"
                if prefix
                else f"{kind}_AOI_2_Vegas_img{number}.tif"
            )
            place = {"crs": CRS.from_epsg(4326), "transform": from_bounds(*bounds, side, side)}
            values = noise(8, side, top=2047)
            values[:, :, 0] = 0
            write(root / kind / name, values, **place)
        stem = (
            f"{prefix}geojson_buildings_img{number}"
            if prefix
            else f"buildings_AOI_2_Vegas_img{number}"
        )
        (root / outlines).mkdir(parents=True, exist_ok=True)
        document = {"type": "FeatureCollection", "features": features}
        (root / outlines / f"{stem}.geojson").write_text(json.dumps(document))
    first, second, third = items(tmp_path)
    assert {item.place for item in (first, second, third)} == {
        "vegas"
    } and third.id == "spacenet2_vegas_img10"
    sharp, coarse = chips(first)
    assert (
        sharp.gsd_m == 0.3
        and coarse.gsd_m == 1.24
        and len(sharp.bands) == 8
        and coarse.values.shape[1:] == (16, 16)
    )
    mask, unknown = sharp.truth["building"]
    assert (
        mask[16:32, 16:32].all()
        and mask.sum() == 256
        and unknown[:, 0].all()
        and not unknown[:, 1:].any()
    )
    assert sharp.truth["built_up"][1][0, 1:].all(), "ground without a building may be paved"
    assert not chips(second)[0].truth["building"][0].any()
    for broken in (
        '{"type": ',
        "[]",
        json.dumps({"features": [{"geometry": {"type": "Polygon"}}]}),
    ):
        next((root / outlines).glob("*img10.geojson")).write_text(broken)
        with pytest.raises(RecordError, match="not a feature collection"):
            chips(third)
