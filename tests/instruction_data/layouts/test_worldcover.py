"""ESA WorldCover tiles with scenes beside them, with the names, codes and types published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from instruction_data.layouts import detect
from instruction_data.sources.chips import SceneItem, complete_truth
from spex.errors import SpexError

DEGREE = 1 / 1200


def write(path: Path, values: np.ndarray, west: float, north: float, **profile: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    options = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": values.dtype,
        "crs": CRS.from_epsg(4326),
        "transform": from_origin(west, north, DEGREE, DEGREE),
    }
    with rasterio.open(path, "w", **{**options, **profile}) as raster:
        raster.write(values)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Maps of a tile of 2020 and 2021, a composite of 2020, and a Sentinel-2 scene in UTM."""
    rng = np.random.default_rng(0)
    for year, version, code in ((2020, "v100", 40), (2021, "v200", 10)):
        cover = np.full((1, 600, 600), code, np.uint8)
        cover[0, :, :300] = 80
        cover[0, :, 590:] = 95
        write(
            tmp_path / f"ESA_WorldCover_10m_{year}_{version}_N48E006_Map.tif",
            cover,
            6,
            49,
            nodata=0,
        )
    values = rng.integers(200, 3000, (4, 300, 300)).astype(np.uint16)
    composite = "ESA_WorldCover_10m_2020_v100_N48E006"
    write(tmp_path / f"rgbnir/{composite}_S2RGBNIR.tif", values, 6.1, 48.9, nodata=0)
    write(tmp_path / f"ndvi/{composite}_NDVI.tif", values[:3].astype(np.uint8), 6.1, 48.9)
    utm = {"crs": CRS.from_epsg(32632), "transform": from_origin(305_000, 5_410_000, 10, 10)}
    scene = write(tmp_path / "scenes/T32ULU_20210704.tif", values, 0, 0, **utm)
    bands = [
        {"name": name, "wavelength_nm": centre, "fwhm_nm": width}
        for name, centre, width in (
            ("B02", 490, 65),
            ("B03", 560, 35),
            ("B04", 665, 30),
            ("B08", 842, 115),
        )
    ]
    scene.with_suffix(".bands.json").write_text(
        json.dumps({"bands": bands, "scale": 0.0001, "level": "surface"})
    )
    return tmp_path


def items(root: Path) -> list[SceneItem]:
    source = detect(root)
    assert source and source.name == "esa_worldcover"
    return list(source.items(root))


def test_composites_take_the_map_of_their_year(root: Path) -> None:
    composite, _ = items(root)
    assert composite.footprint == pytest.approx((6.1, 48.65, 6.35, 48.9))
    chip, *rest = composite.read("train")
    assert (
        len(rest) == 3
        and chip.values.shape == (4, 150, 150)
        and chip.scale == 1e-4
        and chip.level == "surface"
    )
    assert [band.name for band in chip.bands] == ["B04", "B03", "B02", "B08"]
    truth = complete_truth(chip.truth)
    assert truth["water"][0][:, :180].all() and truth["cropland"][0][:, 180:].all()
    assert truth["bare"][1][:, 180:].all() and "snow_ice" not in truth, (
        "a yearly map does not know the day"
    )
    assert "WorldCover" in chip.labels


def test_other_scenes_take_the_newest_map_on_their_own_grid(root: Path) -> None:
    _, scene = items(root)
    chips = list(scene.read("train"))
    truth = complete_truth(chips[0].truth)
    assert chips[0].crs == CRS.from_epsg(32632) and chips[0].gsd_m == 10
    assert truth["tree_cover"][0].any() or truth["water"][0].any()
    assert not any(chip.truth["cropland"][0].any() for chip in chips)


def test_a_scene_off_the_map_and_a_damaged_one_are_named_when_read(root: Path) -> None:
    far = write(root / "scenes/far.tif", np.ones((4, 64, 64), np.uint16), 100, 10)
    far.with_suffix(".bands.json").write_text(
        (root / "scenes/T32ULU_20210704.bands.json").read_text()
    )
    (root / "scenes/cut.tif").write_bytes((root / "scenes/T32ULU_20210704.tif").read_bytes()[:100])
    found = {item.id: item for item in items(root)}
    assert len(found) == 4
    with pytest.raises(SpexError, match="does not overlap"):
        list(found["worldcover_scenes_far_N48E006"].read("train"))
    with pytest.raises(SpexError, match=r"cut\.tif"):
        list(found["worldcover_scenes_cut_N48E006"].read("train"))
