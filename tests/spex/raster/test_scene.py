"""Reading scenes: windows, overviews, validity, areas, every awkward file, and every broken one."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from spex.errors import BandError, SceneError
from spex.raster.scene import Scene
from spex.sensors import Band
from tests.scenes import even_bands, synthetic_scene, write_synthetic_scene

BANDS = (Band("g", 560, 40), Band("n", 842, 100))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scene.tif"


def positions(height: int, width: int, **kw: object) -> Scene:
    """A scene whose pixels tell their own row (band 0) and column (band 1), in thousandths."""
    row, col = np.mgrid[0:height, 0:width] / 1000
    return Scene.from_array(np.stack([row, col]), BANDS, **kw)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_values_are_reflectance_whatever_the_type(path: Path, dtype: str) -> None:
    sensor = "naip" if dtype == "uint8" else "sentinel-2a"
    write_synthetic_scene(path, dtype=dtype, sensor=sensor, seed=3)
    scene = Scene.open(path)
    pixels = scene.read()
    assert pixels.values.dtype == np.float32 and pixels.values.shape == (len(scene.bands), 96, 96)
    assert pixels.valid.all() and scene.warnings == []
    if dtype == "uint8":
        assert scene.level == "uncalibrated" and pixels.values.max() <= 1
    else:
        truth, _ = synthetic_scene(scene.bands, seed=3)
        np.testing.assert_allclose(pixels.values, truth, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 7, 60, 200])
@pytest.mark.parametrize("driver", ["GTiff", "ENVI"])
def test_any_number_of_bands(tmp_path: Path, count: int, driver: str) -> None:
    path = tmp_path / ("cube.tif" if driver == "GTiff" else "cube.img")
    bands = even_bands(count)
    write_synthetic_scene(path, bands=bands, height=32, width=40, driver=driver, dtype="float32")
    scene = Scene.open(path)
    assert [b.wavelength_nm for b in scene.bands] == [b.wavelength_nm for b in bands]
    assert [b.fwhm_nm for b in scene.bands] == [b.fwhm_nm for b in bands]
    assert scene.read().values.shape == (count, 32, 40)


@pytest.mark.parametrize("count", [501, 600])
def test_more_than_500_bands_are_refused(path: Path, count: int) -> None:
    write_synthetic_scene(path, bands=count, height=4, width=4, dtype="float32", described=False)
    with pytest.raises(BandError, match=f"has {count} spectral bands; a scene has 1 to 500"):
        Scene.open(path)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint16", 0), ("int16", -9999), ("float32", math.nan), ("float32", -3.4e38)],
)
def test_nodata(path: Path, dtype: str, nodata: float) -> None:
    truth = write_synthetic_scene(path, dtype=dtype, nodata=nodata)
    pixels = Scene.open(path).read()
    np.testing.assert_array_equal(pixels.valid, truth > 0)
    assert (pixels.values[:, ~pixels.valid] == 0).all() and np.isfinite(pixels.values).all()


def test_a_pixel_needs_every_band_finite_and_valid(path: Path) -> None:
    write_synthetic_scene(path, dtype="float32", nodata=-1)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(
            np.array([[np.nan, np.inf, -np.inf, -1, 0.2]], dtype="float32"),
            3,
            window=Window(0, 0, 5, 1),
        )
    valid = Scene.open(path).read().valid
    assert valid[0, :6].tolist() == [False, False, False, False, True, True]


def test_mask_band_and_alpha_band(tmp_path: Path) -> None:
    hole = np.full((96, 96), 255, dtype="uint8")
    hole[10:30, 40:60] = 0
    masked = tmp_path / "masked.tif"
    write_synthetic_scene(masked, sensor="naip", dtype="uint8")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(hole)
    np.testing.assert_array_equal(Scene.open(masked).read().valid, hole > 0)

    alpha = tmp_path / "alpha.tif"
    with rasterio.open(masked) as source:
        profile = source.profile | {"count": 5}
        with rasterio.open(alpha, "w", **profile) as dataset:
            dataset.colorinterp = [*source.colorinterp, rasterio.enums.ColorInterp.alpha]
            dataset.write(source.read(), [1, 2, 3, 4])
            dataset.write(hole, 5)
    scene = Scene.open(alpha, sensor="naip")
    assert [b.name for b in scene.bands] == ["R", "G", "B", "NIR"]  # alpha is no band
    np.testing.assert_array_equal(scene.read().valid, hole > 0)
    assert scene.overview(48).valid.mean() == pytest.approx((hole > 0).mean(), abs=0.01)


def test_windows_tell_their_place(path: Path) -> None:
    write_synthetic_scene(path, height=70, width=90)
    scene = Scene.open(path)
    whole = scene.read()
    part = scene.read(Window(13, 7, 31, 44))
    np.testing.assert_array_equal(part.values, whole.values[:, 7:51, 13:44])
    np.testing.assert_array_equal(
        positions(70, 90).read(Window(13, 7, 31, 44)).values[1, 0],
        np.arange(13, 44, dtype=np.float32) / 1000,
    )
    for window in (Window(60, 0, 31, 10), Window(-1, 0, 5, 5)):
        with pytest.raises(SceneError, match="is not inside the scene"):
            scene.read(window)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.integers(1, 128))
def test_overview_keeps_aspect_and_mean(height: int, width: int, size: int) -> None:
    scene = positions(height, width, gsd_m=10.0)
    overview = scene.overview(size)
    h, w = overview.valid.shape
    assert max(h, w) <= max(size, 1) and (max(h, w) == min(size, max(height, width)))
    assert overview.values.mean() == pytest.approx(
        scene.read().values.mean(), abs=2e-3 * max(height / h, width / w)
    )
    assert overview.gsd_m == pytest.approx(10 * math.sqrt(height * width / (h * w)))


def test_overview_of_a_file_is_an_average_over_valid_pixels(path: Path) -> None:
    truth = write_synthetic_scene(
        path, height=256, width=128, nodata=0, tiled=True, blockxsize=64, blockysize=64
    )
    scene = Scene.open(path)
    overview = scene.overview(64)
    assert overview.values.shape == (13, 64, 32) and overview.gsd_m == pytest.approx(40)
    blocks = np.where(truth > 0, scene.read().values, np.nan)[3].reshape(64, 4, 32, 4)
    full = (truth > 0).reshape(64, 4, 32, 4).all(axis=(1, 3))
    np.testing.assert_allclose(overview.values[3][full], blocks.mean(axis=(1, 3))[full], atol=1e-4)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
    np.testing.assert_allclose(
        Scene.open(path).overview(64).values[3][full], overview.values[3][full], atol=2e-4
    )


def test_threads_processes_and_copies_read_the_same(path: Path) -> None:
    write_synthetic_scene(path, height=128, width=128)
    scene = Scene.open(path)
    windows = [Window(x, y, 32, 32) for x in range(0, 128, 32) for y in range(0, 128, 32)] * 3
    expected = [scene.read(w).values for w in windows]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(
            pool.map(lambda w: scene.read(w).values, windows), expected, strict=True
        ):
            np.testing.assert_array_equal(got, want)
    copy = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(copy.read(windows[0]).values, expected[0])
    assert copy.bands == scene.bands and copy.crs == scene.crs


def test_bands_of_different_gsd_in_one_vrt(tmp_path: Path) -> None:
    fine, coarse, both = tmp_path / "fine.tif", tmp_path / "coarse.tif", tmp_path / "both.vrt"
    write_synthetic_scene(fine, bands=[Band("B04", 665, 30)], height=40, width=60)
    write_synthetic_scene(coarse, bands=[Band("B11", 1610, 90)], height=20, width=30, gsd_m=20)
    sources = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>{name}</Description>'
        "<SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{file.name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{w}" ySize="{h}"/>'
        '<DstRect xOff="0" yOff="0" xSize="60" ySize="40"/>'
        "</SimpleSource></VRTRasterBand>"
        for i, (name, file, w, h) in enumerate([("B04", fine, 60, 40), ("B11", coarse, 30, 20)], 1)
    )
    grid = "<SRS>EPSG:32632</SRS><GeoTransform>500000, 10, 0, 5100000, 0, -10</GeoTransform>"
    both.write_text(f'<VRTDataset rasterXSize="60" rasterYSize="40">{grid}{sources}</VRTDataset>')
    scene = Scene.open(both)
    assert [(b.name, b.gsd_m) for b in scene.bands] == [
        ("B04", 10),
        ("B11", 20),
    ] and scene.gsd_m == 10
    assert scene.read().valid.all()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield f"http://127.0.0.1:{int(running.stdout.readline())}"
        running.terminate()


def test_a_scene_over_http(path: Path, server: str) -> None:
    write_synthetic_scene(path)
    remote = Scene.open(f"{server}/{path.name}")
    np.testing.assert_array_equal(remote.overview().values, Scene.open(path).overview().values)
    with pytest.raises(SceneError, match=r"nowhere\.tif"):
        Scene.open(f"{server}/nowhere.tif")


# Georeference and areas


def test_rotated_grid_keeps_its_pixel_size(path: Path) -> None:
    write_synthetic_scene(path, rotation=25.0)
    scene = Scene.open(path)
    assert scene.gsd_m == pytest.approx(10)
    np.testing.assert_allclose(scene.pixel_area_m2(), 100)


def test_no_georeference_is_a_note_and_pixel_units(path: Path) -> None:
    write_synthetic_scene(path, crs=None)
    scene = Scene.open(path)
    assert scene.crs is None and scene.gsd_m is None and scene.pixel_area_m2() is None
    assert scene.warnings == [
        "no georeference: locations and areas are in pixels; state the pixel size with --gsd METRES"
    ]
    stated = Scene.open(path, gsd_m=4.0)
    assert stated.gsd_m == 4 and stated.read().gsd_m == 4
    np.testing.assert_array_equal(stated.pixel_area_m2(), np.full(96, 16.0))
    np.testing.assert_array_equal(stated.pixel_sizes_m(), np.full((2, 96), 4.0))
    assert scene.pixel_sizes_m() is None


@pytest.mark.parametrize("latitude", [0.0, 46.0, -71.5])
def test_areas_in_degrees_are_those_on_the_ellipsoid(latitude: float) -> None:
    step = 0.01
    scene = positions(5, 4, crs="EPSG:4326", transform=Affine(step, 0, 9, 0, -step, latitude))
    areas = scene.pixel_area_m2()
    assert areas is not None
    for row in (0, 4):
        south, north = latitude - (row + 1) * step, latitude - row * step
        corners = ([9, 9 + step, 9 + step, 9], [south, south, north, north])
        expected = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*corners)[0])
        assert areas[row] == pytest.approx(expected, rel=1e-4)
    assert scene.gsd_m == pytest.approx(math.sqrt(areas[2]))


@pytest.mark.parametrize("epsg", [4326, 3857])
def test_a_pixel_is_as_wide_and_high_as_the_ground_it_covers(epsg: int) -> None:
    to_map = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = to_map.transform(9.0, -60.0)
    step = 0.001 if epsg == 4326 else 100.0
    scene = positions(5, 4, crs=f"EPSG:{epsg}", transform=Affine(step, 0, x, 0, -step / 2, y))
    sizes = scene.pixel_sizes_m()
    assert sizes is not None
    np.testing.assert_allclose(sizes[0] * sizes[1], scene.pixel_area_m2(), rtol=1e-9)
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    for row in range(5):
        middle = y - (row + 0.5) * step / 2
        edges = [x + 1.5 * step, x + 2.5 * step, x + 2 * step, x + 2 * step]
        heights = [middle, middle, middle + step / 4, middle - step / 4]
        longitude, latitude = to_degrees.transform(edges, heights)
        geod = pyproj.Geod(ellps="WGS84")
        for size, (one, other) in zip(sizes, ((0, 1), (2, 3)), strict=True):
            across = geod.inv(longitude[one], latitude[one], longitude[other], latitude[other])[2]
            assert size[row] == pytest.approx(across, rel=1e-5)


def test_sizes_of_pixels_in_map_units_other_than_metres_and_turned(path: Path) -> None:
    feet = positions(3, 3, crs="EPSG:2263", transform=Affine(10, 0, 9e5, 0, -20, 2e5))
    widths, heights = feet.pixel_sizes_m() or (None, None)
    np.testing.assert_allclose(widths, 10 * 1200 / 3937)
    np.testing.assert_allclose(heights, 20 * 1200 / 3937)
    write_synthetic_scene(path, rotation=25.0)
    np.testing.assert_allclose(Scene.open(path).pixel_sizes_m(), 10)


def test_mercator_is_measured_on_the_ground() -> None:
    to_mercator = pyproj.Transformer.from_crs(4326, 3857, always_xy=True)
    x, y = to_mercator.transform(9.0, 60.0)
    scene = positions(3, 3, crs="EPSG:3857", transform=Affine(10, 0, x, 0, -10, y))
    assert scene.gsd_m == pytest.approx(10 * math.cos(math.radians(60)), rel=5e-3)
    feet = positions(3, 3, crs="EPSG:2263", transform=Affine(10, 0, 9e5, 0, -10, 2e5))
    assert feet.gsd_m == pytest.approx(3.048, rel=1e-3)


def test_coordinates_off_the_globe_are_refused() -> None:
    with pytest.raises(SceneError, match="outside the globe"):
        positions(3, 3, crs="EPSG:4326", transform=Affine(10, 0, 5e5, 0, -10, 5.1e6))


# Broken input


def test_missing_file_folder_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"nothing\.tif: no such file"):
        Scene.open(tmp_path / "nothing.tif")
    with pytest.raises(SceneError, match="is a folder"):
        Scene.open(tmp_path)
    for name, content in {
        "note.txt": b"hello",
        "empty.tif": b"",
        "cut.tif": b"II*\0\x08\0\0\0",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            SceneError, match=rf"{name} is not a raster that GDAL can open"
        ) as caught:
            Scene.open(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_file(path: Path, share: float) -> None:
    write_synthetic_scene(
        path, height=400, width=400, tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SceneError, match="damaged"):
        Scene.open(path).read()


def test_corrupt_block_is_named_by_its_window(path: Path) -> None:
    write_synthetic_scene(
        path,
        height=512,
        width=512,
        tiled=True,
        blockxsize=64,
        blockysize=64,
        compress="deflate",
        interleave="pixel",
    )
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{key}_7_0", "TIFF", bidx=1))
            for key in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)
    scene = Scene.open(path)
    assert scene.read(Window(0, 0, 64, 64)).valid.all()
    with pytest.raises(SceneError, match="cannot read rows 0-63, columns 448-511"):
        scene.read(Window(448, 0, 64, 64))


def test_all_nodata(path: Path) -> None:
    write_synthetic_scene(path, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.zeros((13, 96, 96), dtype="uint16"))
    with pytest.raises(SceneError, match="has no valid pixel"):
        Scene.open(path).overview()


def test_huge_declared_size_opens_and_previews_cheaply(tmp_path: Path) -> None:
    write_synthetic_scene(tmp_path / "tile.tif", bands=[Band("B04", 665, 30)])
    file = '<SourceFilename relativeToVRT="1">tile.tif</SourceFilename>'
    source = f"<SimpleSource>{file}<SourceBand>1</SourceBand></SimpleSource>"
    band = (
        '<VRTRasterBand dataType="UInt16" band="1"><Description>B04</Description>'
        f"{source}</VRTRasterBand>"
    )
    huge = tmp_path / "huge.vrt"
    huge.write_text(f'<VRTDataset rasterXSize="1000000" rasterYSize="1000000">{band}</VRTDataset>')
    scene = Scene.open(huge, sensor=None)
    assert scene.width == 1_000_000
    assert scene.overview(256).values.shape == (1, 256, 256)
    too_large = tmp_path / "too_large.vrt"
    too_large.write_text(
        f'<VRTDataset rasterXSize="3000000000" rasterYSize="10">{band}</VRTDataset>'
    )
    with pytest.raises(SceneError):
        Scene.open(too_large)


def test_container_without_a_raster_of_its_own_names_its_parts(tmp_path: Path) -> None:
    place = tmp_path / "many.tif"
    for append in (False, True):
        write_synthetic_scene(place, sensor="naip", dtype="uint8", APPEND_SUBDATASET=append)
    assert Scene.open(f"GTIFF_DIR:2:{place}").width == 96


def test_arrays_must_fit_their_bands() -> None:
    with pytest.raises(BandError, match=r"2 bands for an array of shape \(3, 4, 4\)"):
        Scene.from_array(np.zeros((3, 4, 4)), BANDS)
    with pytest.raises(BandError, match="same centre"):
        Scene.from_array(np.zeros((2, 4, 4)), [Band("a", 560, 40), Band("b", 560, 40)])


def test_array_scenes_hide_what_is_not_finite() -> None:
    values = np.full((2, 4, 4), 0.5)
    values[1, 2, 3] = np.nan
    scene = Scene.from_array(values, BANDS, valid=np.arange(16).reshape(4, 4) > 0)
    pixels = scene.read()
    assert pixels.valid.sum() == 14 and pixels.values[:, 2, 3].tolist() == [0, 0]
    np.testing.assert_allclose(scene.overview(2).values, 0.5)
    assert scene.read(out_shape=(8, 8)).valid.sum() == 14 * 4
