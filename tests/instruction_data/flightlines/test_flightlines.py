"""Flight lines to tiles: small files in the layouts that AVIRIS products are delivered in."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5netcdf
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.crs import CRS

from instruction_data.flightlines.products import identify_product
from instruction_data.flightlines.training_tiles import cut_flight_lines
from spex.cli.main import main
from spex.errors import ConfigError, SceneError
from spex.raster.scene import Scene
from spex.sensors import get_sensor

SIZE = 16
NG, CLASSIC, THREE = (len(get_sensor(key).bands) for key in ("aviris-ng", "aviris-c", "aviris-3"))
NG_L1, NG_L2 = "ang20170706t180635_rdn_v2p9_img", "ang20170706t180635_rfl_v2p9_img"
CLASSIC_L1, CLASSIC_L2 = "f180820t01p00r09rdn_e_sc01_ort_img", "f130329t01p00r06_corr_v1"
THREE_L1 = "AV320231005t181518_003_L1B_RDN_a1b2c3d4_RDN.nc"
THREE_L2 = "AV320231005t181518_003_L2A_OE_main_27577724_RFL_ORT.nc"


def spectra(
    bands: int, height: int = SIZE, width: int = SIZE, top: float = 0.5, seed: int = 1
) -> np.ndarray:
    """Smooth spectra (C, h, w) between 0.02 and ``top``."""
    pixel = np.random.default_rng(seed).uniform(0.2, 1, (1, height, width))
    return (0.02 + (top - 0.02) * pixel * np.linspace(0.3, 1, bands)[:, None, None] ** 2).astype(
        np.float32
    )


def write_envi(
    path: Path,
    values: np.ndarray,
    *,
    rotation: float = 0,
    order: str = ">",
    wavelengths: bool = True,
) -> Path:
    """An ENVI file as JPL writes them: interleaved by line, with bands and a rotated map."""
    bands, height, width = values.shape
    numbers = values.astype(values.dtype.newbyteorder(order))
    path.write_bytes(numbers.transpose(1, 0, 2).tobytes())
    kinds = {"int16": 2, "float32": 4}
    map_info = f"UTM, 1, 1, 500000, 4000000, 5.1, 5.1, 11, North, WGS-84, units=Meters, {rotation=}"
    centres = ", ".join(f"{x:.4f}" for x in np.linspace(376.44, 2500.12, bands))
    lines = [
        "ENVI",
        f"samples = {width}",
        f"lines = {height}",
        f"bands = {bands}",
        "header offset = 0",
        "file type = ENVI Standard",
        f"data type = {kinds[values.dtype.name]}",
        "interleave = bil",
        f"byte order = {int(order == '>')}",
        f"map info = {{{map_info}}}",
        "data ignore value = -9999",
    ]
    if wavelengths:
        lines += ["wavelength units = Nanometers", f"wavelength = {{{centres}}}"]
        lines += [f"fwhm = {{{', '.join(['5.6'] * bands)}}}"]
    Path(f"{path}.hdr").write_text("\n".join(lines) + "\n")
    return path


def write_netcdf(path: Path, values: np.ndarray, group: str, *, placed: bool = True) -> Path:
    """A netCDF file as the ORNL DAAC has them; in the sensor's geometry unless ``placed``."""
    bands, height, width = values.shape
    rows, cols = ("northing", "easting") if placed else ("lines", "samples")
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {rows: height, cols: width}
        if placed:
            for name, axis, start, step, count in (
                ("easting", "x", 500_000, 5, width),
                ("northing", "y", 4e6, -5, height),
            ):
                data = start + step * (np.arange(count) + 0.5)
                variable = file.create_variable(name, (name,), "f8", data=data)
                variable.attrs.update(standard_name=f"projection_{axis}_coordinate", units="m")
            wkt = CRS.from_epsg(32611).to_wkt()
            variable = file.create_variable("transverse_mercator", (), "S1")
            variable.attrs.update(
                grid_mapping_name="transverse_mercator", crs_wkt=wkt, spatial_ref=wkt
            )
            variable.attrs["GeoTransform"] = "500000 5 0 4000000 0 -5"
        inner = file.create_group(group)
        inner.dimensions = {"wavelength": bands}
        inner.create_variable(
            "wavelength", ("wavelength",), "f4", data=np.linspace(390, 2500, bands, dtype="f4")
        )
        inner.create_variable("fwhm", ("wavelength",), "f4", data=np.full(bands, 8.5, "f4"))
        variable = inner.create_variable(
            group,
            ("wavelength", rows, cols),
            "f4",
            data=values,
            chunks=(8, 16, 16),
            compression="gzip",
            fillvalue=-9999.0,
        )
        if placed:
            variable.attrs["grid_mapping"] = "transverse_mercator"
    return path


def index(out: Path) -> list[dict[str, object]]:
    return pq.read_table(out / "index.parquet").to_pylist()


def run(path: Path | list[Path], out: Path, **options: bool) -> dict:
    return cut_flight_lines(
        path if isinstance(path, list) else [path], out, size=SIZE, say=lambda text: None, **options
    )


def contents(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def without_report(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(out).items() if name != "report.json"}


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A folder with one file in every layout."""
    folder = tmp_path / "lines"
    folder.mkdir()
    write_envi(folder / NG_L1, spectra(NG, top=12), order="<", rotation=-30)
    write_envi(folder / NG_L2, spectra(NG), order="<")
    write_envi(folder / CLASSIC_L1, np.full((CLASSIC, SIZE, SIZE), 600, np.int16))
    gains = np.repeat([300, 600, 1200], [110, 50, 64])
    (folder / "f180820t01p00r09rdn_e.gain").write_text(
        "".join(f"{g} {i}\n" for i, g in enumerate(gains, 1))
    )
    write_envi(folder / CLASSIC_L2, (spectra(CLASSIC) * 1e4).astype(np.int16))
    write_netcdf(folder / THREE_L1, spectra(THREE, top=12), "radiance", placed=False)
    write_netcdf(folder / THREE_L2, spectra(THREE), "reflectance")
    return folder


def test_every_layout_gives_tiles_that_a_scene_reads(lines: Path, tmp_path: Path) -> None:
    report = run(lines, tmp_path / "out")
    assert report["skipped"] == {}
    rows = {row["product"]: row for row in index(tmp_path / "out")}
    kinds = {name: (row["sensor"], row["level"], row["line"]) for name, row in rows.items()}
    assert kinds == {
        NG_L1.removesuffix(".img"): ("aviris-ng", "radiance", "ang20170706t180635"),
        NG_L2: ("aviris-ng", "surface", "ang20170706t180635"),
        CLASSIC_L1: ("aviris-c", "radiance", "f180820t01p00r09"),
        CLASSIC_L2: ("aviris-c", "surface", "f130329t01p00r06"),
        THREE_L1.removesuffix(".nc"): ("aviris-3", "radiance", "AV320231005t181518"),
        THREE_L2.removesuffix(".nc"): ("aviris-3", "surface", "AV320231005t181518"),
    }
    assert {row["gsd_m"] for row in rows.values()} == {5.1, 5.0, None}
    for row in rows.values():
        scene = Scene.open(tmp_path / "out" / row["tile"])
        assert (scene.sensor.key, scene.level, scene.height, scene.width) == (
            row["sensor"],
            row["level"],
            SIZE,
            SIZE,
        )
        assert scene.read().valid.all()
        assert (
            scene.gsd_m == pytest.approx(row["gsd_m"], rel=2e-3)
            if row["gsd_m"]
            else scene.crs is None
        )
        if row["level"] == "surface":
            assert (
                -120 < row["west"] < row["east"] < -116 and 36 < row["south"] < row["north"] < 36.5
            )


def test_values_wavelengths_and_bad_bands_come_through(lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "out")
    tiles = {row["product"]: tmp_path / "out" / row["tile"] for row in index(tmp_path / "out")}
    scene = Scene.open(tiles[NG_L2])
    left_out = {1, *range(195, 212), *range(281, 320), *range(421, 426)}
    good = [i for i in range(NG) if i + 1 not in left_out]
    assert [band.name for band in scene.bands] == [str(i + 1) for i in good]
    np.testing.assert_allclose(
        [b.wavelength_nm for b in scene.bands], np.linspace(376.44, 2500.12, NG)[good], atol=1e-3
    )
    assert {band.fwhm_nm for band in scene.bands} == {5.6}
    np.testing.assert_allclose(scene.read().values, spectra(NG)[good], rtol=2**-11)
    with rasterio.open(tiles[NG_L2]) as stored:
        assert stored.count == NG and not stored.read([1, 200, 300, 425]).any()
    for path in (THREE_L1, THREE_L2):  # stored top row first, with and without map coordinates
        scene = Scene.open(tiles[path.removesuffix(".nc")])
        whole = spectra(THREE, top=12 if path == THREE_L1 else 0.5)
        np.testing.assert_allclose(
            scene.read().values, whole[[int(b.name) - 1 for b in scene.bands]], rtol=2**-11
        )
        assert scene.bands[0].wavelength_nm == 390 and scene.bands[0].fwhm_nm == 8.5
    radiance = Scene.open(tiles[CLASSIC_L1]).read().values
    np.testing.assert_allclose(
        radiance[[0, 109, 110, 159, 160, 223], 0, 0], [2, 2, 1, 1, 0.5, 0.5], rtol=2**-11
    )


def test_a_pixel_above_the_ceiling_is_invalid_and_a_negative_value_is_zero(tmp_path: Path) -> None:
    values = spectra(NG)
    values[50, 3, 4] = 2.6
    values[60, 5, 6] = -0.2
    values[70, 7, 8] = np.nan
    values[200, 9, 9] = 99  # bands in water absorption do not count
    values[:, 0, :] = -9999
    run(write_envi(tmp_path / NG_L2, values, order="<"), tmp_path / "out")
    (row,) = index(tmp_path / "out")
    with rasterio.open(tmp_path / "out" / row["tile"]) as tile:
        stored, mask = tile.read(), tile.dataset_mask() > 0
    assert not mask[0].any() and not mask[3, 4] and mask.sum() == SIZE * (SIZE - 1) - 1
    assert not stored[:, ~mask].any()
    assert stored[60, 5, 6] == stored[70, 7, 8] == 0 and mask[5, 6] and mask[7, 8] and mask[9, 9]
    good = NG - 62
    assert row["valid_share"] == pytest.approx(1 - (SIZE + 1 + 2 / good) / SIZE**2, abs=1e-6)


@pytest.mark.parametrize(("name", "ceiling"), [(NG_L1, 100), (CLASSIC_L1, 30)])
def test_radiance_has_a_ceiling_per_sensor(tmp_path: Path, name: str, ceiling: float) -> None:
    values = np.full((NG if name == NG_L1 else CLASSIC, SIZE, SIZE), 5, np.float32)
    values[10, 0, 0], values[10, 1, 1] = ceiling * 1.01, ceiling * 0.99
    run(write_envi(tmp_path / name, values), tmp_path / "out")
    with rasterio.open(tmp_path / "out" / index(tmp_path / "out")[0]["tile"]) as tile:
        assert tile.dataset_mask()[0, 0] == 0 and tile.dataset_mask()[1, 1] == 255


def test_tiles_are_dropped_by_the_share_of_invalid_values_and_the_cause_is_counted(
    tmp_path: Path,
) -> None:
    values = spectra(NG, 2 * SIZE, 3 * SIZE + 10)
    values[:, : SIZE // 4, :SIZE] = -9999  # a quarter of the first tile
    values[:, : SIZE // 8, SIZE : 2 * SIZE] = -9999  # an eighth of the second
    values[30, : SIZE // 2, 2 * SIZE : 3 * SIZE] = 7  # half of the third
    values[::2, SIZE:, :SIZE] = -0.01  # half of the values of the one below the first
    report = run(write_envi(tmp_path / NG_L2, values, order="<"), tmp_path / "out")
    expected = {"no data": 1, "above the ceiling": 1, "negative": 1, "beyond the edge": 2}
    assert report["rejected"] == report["lines"][NG_L2]["rejected"] == expected
    kept = {(row["row"], row["col"]): row["valid_share"] for row in index(tmp_path / "out")}
    assert kept == {(0, SIZE): 0.875, (SIZE, SIZE): 1.0, (SIZE, 2 * SIZE): 1.0}


def test_an_edge_tile_is_padded_and_its_place_is_right(tmp_path: Path) -> None:
    run(
        write_envi(tmp_path / NG_L2, spectra(NG, SIZE, SIZE + 14), order="<", rotation=20),
        tmp_path / "out",
    )
    first, last = index(tmp_path / "out")
    assert (last["row"], last["col"], last["valid_share"]) == (0, SIZE, 0.875)
    with (
        rasterio.open(tmp_path / NG_L2) as line,
        rasterio.open(tmp_path / "out" / last["tile"]) as tile,
    ):
        assert tile.shape == (SIZE, SIZE) and tile.crs == line.crs
        assert tile.xy(4, 5) == pytest.approx(line.xy(4, SIZE + 5))
        assert not tile.dataset_mask()[:, 14:].any() and tile.dataset_mask()[:, :14].all()
    assert first["west"] < last["west"]


def broken(folder: Path) -> dict[str, str]:
    """Files that cannot be used, with what the report must say about each."""
    data = (folder / NG_L2).read_bytes()
    short = folder / NG_L2.replace("t180635", "t180636")
    short.write_bytes(data[: len(data) // 2])
    shutil.copy(folder / f"{NG_L2}.hdr", f"{short}.hdr")
    damaged = folder / THREE_L2.replace("t181518", "t181519")
    content = bytearray((folder / THREE_L2).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = bytes(20_000)
    damaged.write_bytes(content)
    text = folder / THREE_L1.replace("t181518", "t181519")
    text.write_text("<html>please log in</html>")
    foreign = write_netcdf(folder / "EMIT_L2A_RFL_001_20220810.nc", spectra(8), "reflectance")
    few = write_envi(folder / NG_L1.replace("t180635", "t180637"), spectra(30))
    mute = write_envi(folder / NG_L1.replace("t180635", "t180638"), spectra(NG), wavelengths=False)
    gainless = write_envi(
        folder / CLASSIC_L1.replace("r09", "r10"), np.ones((CLASSIC, SIZE, SIZE), np.int16)
    )
    return {
        str(short): "cut short",
        str(damaged): "damaged",
        str(text): "no netCDF file",
        str(foreign): "does not have the name of an AVIRIS flight line",
        str(few): "30 bands",
        str(mute): "wavelengths",
        str(gainless): "gain",
    }


def test_what_cannot_be_used_is_named_and_left_out(lines: Path, tmp_path: Path) -> None:
    run(lines, tmp_path / "clean")
    reasons = broken(lines)
    write_envi(
        lines / "ang20170706t180635_rdn_v2p9_glt", spectra(2)
    )  # delivered beside the pixels, no failure
    report = run(lines, tmp_path / "out")
    assert report["skipped"].keys() == reasons.keys()
    for path, part in reasons.items():
        assert (
            part in report["skipped"][path]
            and path in report["skipped"][path]
            and "\n" not in report["skipped"][path]
        )
    assert without_report(tmp_path / "out") == without_report(tmp_path / "clean")


def test_strict_refuses_the_first(lines: Path, tmp_path: Path) -> None:
    write_envi(lines / NG_L1.replace("t180635", "t180637"), spectra(30))
    with pytest.raises(SceneError, match="30 bands"):
        run(lines, tmp_path / "out", strict=True)


def test_a_killed_run_goes_on_with_the_same_result(lines: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    run(lines, whole)
    command = [
        sys.executable,
        "-m",
        "spex",
        "train",
        "tiles",
        str(lines),
        "--out",
        str(out),
        "--size",
        str(SIZE),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the first line is finished, the second begun
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = list((out / "lines").glob("*/line.json"))
    assert 0 < len(finished) < 6 and not (out / "index.parquet").exists()
    before = {path: path.stat().st_mtime_ns for path in finished}
    run(lines, out)
    assert {path: path.stat().st_mtime_ns for path in finished} == before
    assert contents(out) == contents(whole)


def test_a_full_disk_is_one_line_and_leaves_no_half_tile(lines: Path, tmp_path: Path) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
    code = limit + "from spex.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "train",
        "tiles",
        str(lines / NG_L2),
        "--out",
        str(tmp_path / "out"),
        "--size",
        str(SIZE),
    ]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and "cannot write to" in done.stderr
    )
    assert not list((tmp_path / "out").rglob("*.tif"))


def test_the_command_says_what_it_did(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["train", "tiles", str(lines / NG_L2), "--out", str(out), "--size", str(SIZE)]
    assert main(arguments) == 0
    assert "1 tiles of 1 files" in capsys.readouterr().out
    assert main([*arguments, str(lines / "absent.nc")]) == 1
    assert "absent.nc: no such file" in capsys.readouterr().out
    assert main([*arguments[:-1], "48"]) == 2
    assert "holds tiles of 16 pixels" in capsys.readouterr().err
    assert main(["train", "tiles", str(lines / "absent.nc"), "--out", str(tmp_path / "new")]) == 2
    with pytest.raises(ConfigError, match="multiple of 16"):
        cut_flight_lines([lines], out, size=100, say=print)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("f080611t01p00r07rdn_c_sc01_ort_img", "radiance"),
        ("f080611t01p00r07rdn_c_obs_ort", None),
        ("f130329t01p00r06_rfl_v1l1_img", "surface"),
        ("ang20170706t180635_corr_v2p9_img", "surface"),
        ("ang20170706t180635_rdn_v2p9_igm", None),
        ("ang20170706t180635_h2o_v2p9_img", None),
        ("AV320231005t181518_L1B_RDN_main_d71e8b07_RDN_ORT", "radiance"),
        ("AV320231005t181518_L1B_ORT_main_d71e8b07_GLT", None),
        ("ang20231126t085417_012_L2A_OE_0b4f48b4_RFL_ORT.nc", "surface"),
        ("ang20231126t085417_012_L2A_OE_0b4f48b4_UNC_ORT.nc", None),
    ],
)
def test_names_tell_the_level_and_companions(name: str, level: str | None) -> None:
    product = identify_product(Path(name))
    assert (product and product.level) == level
