"""Band metadata and radiometry from every source, and the order of the sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from spex.errors import BandError, SceneError
from spex.raster.scene import Scene
from tests.scenes import write_synthetic_scene

Write = Callable[..., Path]
RGBN = [(0.49, 0.065), (0.56, 0.035), (0.665, 0.03), (0.842, 0.115)]
INLINE = "B02=490/65,B03=560/35,B04=665/30,B08=842/115"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes four bands of 1000 to 4000 plus a ramp, without metadata but that of keywords."""

    def writer(
        name: str = "scene.tif",
        *,
        count: int = 4,
        dtype: str = "uint16",
        driver: str = "GTiff",
        level: float = 1000,
        tags: dict[str, Any] | None = None,
        descriptions: tuple[str, ...] = (),
        namespace: str | None = None,
        band_tags: list[dict[str, Any]] | None = None,
        scale: float | None = None,
        offset: float = 0.0,
    ) -> Path:
        path = tmp_path / name
        ramp = np.linspace(0, 0.2, 400).reshape(20, 20)
        values = np.stack([(i % 4 + 1 + ramp) * level for i in range(count)]).astype(dtype)
        profile = {
            "driver": driver,
            "width": 20,
            "height": 20,
            "count": count,
            "dtype": dtype,
            "crs": "EPSG:32633",
        }
        with rasterio.open(
            path, "w", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), **profile
        ) as out:
            out.write(values)
            if driver == "GTiff":
                out.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1)
            out.update_tags(**(tags or {}))
            for i, text in enumerate(descriptions, 1):
                out.set_band_description(i, text)
            for i, entry in enumerate(band_tags or [], 1):
                out.update_tags(i, ns=namespace, **entry)
            if scale is not None:
                out.scales, out.offsets = [scale] * count, [offset] * count
        return path

    return writer


def centres(scene: Scene) -> list[float | None]:
    return [band.wavelength_nm for band in scene.bands]


def widths(scene: Scene) -> list[float | None]:
    return [band.fwhm_nm for band in scene.bands]


EXPECTED = [490, 560, 665, 842]


def test_inline_bands(write: Write) -> None:
    scene = Scene.open(write(), bands=INLINE)
    assert [b.name for b in scene.bands] == ["B02", "B03", "B04", "B08"]
    assert centres(scene) == EXPECTED and widths(scene) == [65, 35, 30, 115]
    assert centres(Scene.open(write(), bands="a=490, b=560,c=665 ,d=842")) == EXPECTED


def test_bands_as_json_file_text_or_mapping(write: Write, tmp_path: Path) -> None:
    document = {
        "bands": [
            {"name": f"b{i}", "wavelength_nm": c, "fwhm_nm": 30} for i, c in enumerate(EXPECTED)
        ],
        "scale": 2e-4, "offset": -0.05, "gsd_m": 3, "level": "toa", "bad_bands": ["b2"],
    }  # fmt: skip
    place = tmp_path / "mine.json"
    place.write_text(json.dumps(document))
    for bands in (place, str(place), json.dumps(document), document):
        scene = Scene.open(write(), bands=bands)
        assert [b.name for b in scene.bands] == ["b0", "b1", "b3"]
        assert scene.level == "toa"
        assert scene.read().values[2].min() == pytest.approx(4000 * 2e-4 - 0.05)


def test_scale_alone_completes_a_named_sensor(write: Write) -> None:
    scene = Scene.open(write(), sensor="sentinel-2", bands={"scale": 5e-5, "level": "toa"})
    assert [b.name for b in scene.bands] == ["B02", "B03", "B04", "B08"]
    assert scene.level == "toa" and scene.scale.tolist() == [5e-5] * 4


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("B02=490/65,B03=560/35", "describes 2 bands, the raster has 4"),
        ("B02=490/65,B03=blue,B04=665,B08=842", r"'B03=blue' is not NAME=CENTRE"),
        ("nowhere.json", "neither a readable JSON file"),
        ('{"bands": ', "not valid JSON"),
        ({"bands": [{"name": "a", "center_nm": 490}] * 4}, "unknown keys .*center_nm"),
        ({"level": "L2A"}, "level is 'L2A'"),
        ({"scale": "big"}, "scale is 'big'"),
        ({"scale": -1}, "must be above 0"),
        ({"bad_bands": ["B99"]}, "bad_bands names .*B99"),
        ("a=490/65,b=490/65,c=665/30,d=842/115", "same centre"),
        ("a=490/65,a=560/35,c=665/30,d=842/115", "two bands are called 'a'"),
        ("a=-5/65,b=560/35,c=665/30,d=842/115", "-5 nm"),
        ("a=99999/65,b=560/35,c=665/30,d=842/115", "99999 nm"),
        ("a=490/0,b=560/35,c=665/30,d=842/115", "the width of band .a. is 0 nm"),
    ],
)
def test_bands_that_cannot_be(write: Write, bands: Any, message: str) -> None:
    with pytest.raises(BandError, match=message) as caught:
        Scene.open(
            write(),
            sensor="sentinel-2" if isinstance(bands, dict) and "bands" not in bands else None,
            bands=bands,
        )
    assert "\n" not in str(caught.value)


def test_named_sensor_with_another_number_of_bands(write: Write) -> None:
    with pytest.raises(
        BandError, match=r"raster has 4 bands, but products of Landsat 8 OLI/TIRS have 6, 7"
    ):
        Scene.open(write(), sensor="landsat-8")


def test_envi_header(write: Write, tmp_path: Path) -> None:
    path = write("cube.img", driver="ENVI", dtype="int16")
    header = tmp_path / "cube.hdr"
    said = (
        "wavelength units = Micrometers\nwavelength = {0.49, 0.56, 0.665, 0.842}\n"
        "fwhm = {0.065, 0.035, 0.03, 0.115}\n"
    )
    header.write_text(
        header.read_text() + said + "bbl = {1, 1, 0, 1}\nreflectance scale factor = 20000\n"
    )
    scene = Scene.open(path)
    assert centres(scene) == [490, 560, 842] and widths(scene) == [65, 35, 115]
    assert scene.scale.tolist() == pytest.approx([5e-5] * 3)
    assert any("marked bad" in note for note in scene.warnings)


def test_envi_header_in_nanometres_without_unit(write: Write, tmp_path: Path) -> None:
    path = write("cube.img", driver="ENVI")
    header = tmp_path / "cube.hdr"
    header.write_text(header.read_text() + "wavelength = {490, 560, 665, 842}\n")
    scene = Scene.open(path)
    assert centres(scene) == EXPECTED and widths(scene) == [None] * 4


def test_gdal_imagery_tags(write: Write) -> None:
    said = [{"CENTRAL_WAVELENGTH_UM": c, "FWHM_UM": w} for c, w in RGBN]
    scene = Scene.open(write(band_tags=said, namespace="IMAGERY"))
    assert centres(scene) == EXPECTED and widths(scene) == [65, 35, 30, 115]


@pytest.mark.parametrize("prefix", ["", "eo:"])
def test_stac_bands_in_a_tag(write: Write, prefix: str) -> None:
    said = [
        {
            "name": f"n{i}",
            f"{prefix}center_wavelength": c,
            f"{prefix}full_width_half_max": w,
            "raster:scale": 2e-4,
            "gsd": 10,
        }
        for i, (c, w) in enumerate(RGBN)
    ]
    scene = Scene.open(write(tags={"eo:bands" if not prefix else "bands": json.dumps(said)}))
    assert centres(scene) == EXPECTED and scene.bands[0].gsd_m == 10
    assert scene.scale.tolist() == [2e-4] * 4 and scene.warnings == []


def test_stac_item_beside_the_file(write: Write, tmp_path: Path) -> None:
    path = write()
    asset = {
        "href": "https://example.org/a/scene.tif",
        "eo:bands": [
            {"name": f"n{i}", "center_wavelength": c, "full_width_half_max": w}
            for i, (c, w) in enumerate(RGBN)
        ],
        "raster:bands": [{"scale": 1e-4, "offset": -0.1}] * 4,
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "assets": {"other": {"href": "x.tif"}, "data": asset},
    }
    (tmp_path / "scene.json").write_text(json.dumps(item))
    scene = Scene.open(path)
    assert centres(scene) == EXPECTED
    assert scene.read().values[0].min() == pytest.approx(0.0, abs=1e-6)


def test_wavelengths_in_descriptions(write: Write) -> None:
    scene = Scene.open(
        write(
            descriptions=(
                "blue 490 nm",
                "Band 2 (0.56 Micrometers)",
                "665nm",
                "nir (842 nanometers)",
            )
        )
    )
    assert centres(scene) == EXPECTED
    assert [b.name for b in scene.bands] == ["blue", "Band 2", "3", "nir"]


@pytest.mark.parametrize(
    ("names", "dtype", "sensor", "first"),
    [
        (("B02", "B03", "B04", "B08"), "uint16", "sentinel-2a", 492.73),
        (("B2", "B3", "B4", "B8"), "uint16", "sentinel-2a", 492.73),
        (("SR_B2", "SR_B3", "SR_B4", "SR_B6"), "uint16", "landsat-8", 482.59),
        (("coastal", "blue", "green", "red", "nir", "swir1", "swir2"), "int16", "hls7", 442.98),
        (("R", "G", "B", "NIR"), "uint8", "naip", 640),
        (("B", "G", "R", "NIR"), "uint16", None, 485),
    ],
)
def test_names_of_bands(
    write: Write, names: tuple[str, ...], dtype: str, sensor: str | None, first: float
) -> None:
    scene = Scene.open(
        write(
            count=len(names),
            dtype=dtype,
            descriptions=names,
            level=20 if dtype == "uint8" else 1000,
        )
    )
    assert (scene.sensor.key if scene.sensor else None) == sensor
    assert scene.bands[0].wavelength_nm == pytest.approx(first)
    assert any("nominal" in note for note in scene.warnings) == (sensor is None)


def test_names_that_several_sensors_use_are_not_guessed(write: Write) -> None:
    names = tuple(f"B{i}" for i in range(1, 8))
    with pytest.raises(BandError, match=r"used by sentinel-2a.*landsat-8.*--sensor NAME") as caught:
        Scene.open(write(count=7, descriptions=names))
    assert "B1, B2" in str(caught.value)
    assert Scene.open(write(count=7, descriptions=names), sensor="landsat-9").bands[4].name == "B5"


def test_sidecar_is_asked_after_tags(write: Write, tmp_path: Path) -> None:
    sidecar = {
        "bands": [{"name": f"s{i}", "wavelength_nm": c + 1} for i, c in enumerate(EXPECTED)],
        "scale": 3e-4,
    }
    (tmp_path / "scene.bands.json").write_text(json.dumps(sidecar))
    assert Scene.open(write()).bands[0].name == "s0"
    both = Scene.open(write(descriptions=("B02", "B03", "B04", "B08")))
    assert (
        both.bands[0].name == "B02" and both.scale[0] == 3e-4
    )  # each source fills what earlier ones leave open
    assert Scene.open(write(), bands=INLINE).bands[0].name == "B02"


def test_a_sidecar_may_name_the_sensor(write: Write, tmp_path: Path) -> None:
    sidecar = tmp_path / "scene.bands.json"
    sidecar.write_text(json.dumps({"sensor": "Sentinel-2A"}))
    scene = Scene.open(write(count=12))
    assert (
        scene.sensor
        and scene.sensor.key == "sentinel-2a"
        and not any("alone" in note for note in scene.warnings)
    )
    own = [{"name": f"s{i}", "wavelength_nm": centre} for i, centre in enumerate(EXPECTED)]
    sidecar.write_text(json.dumps({"sensor": "aviris-ng", "bands": own}))
    scene = Scene.open(write())
    assert scene.sensor and scene.sensor.key == "aviris-ng" and scene.bands[0].name == "s0"
    sidecar.write_text(json.dumps({"sensor": "avriris"}))
    with pytest.raises(BandError, match="no sensor is called 'avriris'"):
        Scene.open(write())


def test_nothing_said_is_an_error_that_says_how(write: Write) -> None:
    with pytest.raises(
        BandError,
        match=r'bands of uint16 .*\(descriptions: none\).*--sensor NAME, with --bands "B02=490',
    ):
        Scene.open(write())


def test_recognised_by_count_and_type_with_a_note(write: Write) -> None:
    scene = Scene.open(write(count=12))
    assert scene.sensor and scene.sensor.key == "sentinel-2a" and len(scene.bands) == 12
    assert any("the only known sensor that delivers 12 bands" in note for note in scene.warnings)


@pytest.mark.parametrize(
    ("name", "tags", "offset", "level"),
    [
        ("S2B_MSIL2A_20230301T100031_N0509_R122_T33UVP.tif", {}, -0.1, "surface"),
        ("S2A_MSIL2A_20200301T100031_N0214_R122_T33UVP.tif", {}, 0.0, "surface"),
        ("S2A_MSIL1C_20230301T100031_N0400_R122_T33UVP.tif", {}, -0.1, "toa"),
        ("a.tif", {"PROCESSING_BASELINE": "05.09"}, -0.1, "surface"),
        ("a.tif", {"PROCESSING_BASELINE": "02.14"}, 0.0, "surface"),
        ("a.tif", {"BOA_ADD_OFFSET": "-1000"}, -0.1, "surface"),
        (
            "a.tif",
            {"PRODUCT_URI": "S2C_MSIL2A_20250301T100031_N0511_R122_T33UVP.SAFE"},
            -0.1,
            "surface",
        ),
    ],
)
def test_sentinel_2_baseline(
    write: Write, name: str, tags: dict[str, str], offset: float, level: str
) -> None:
    scene = Scene.open(write(name, tags=tags, descriptions=("B02", "B03", "B04", "B08")))
    assert scene.offset.tolist() == pytest.approx([offset] * 4)
    assert scene.level == level
    assert scene.read().values[0, 0, 0] == pytest.approx(0.1 + offset, abs=1e-6)
    if "S2B" in name:
        assert scene.sensor and scene.sensor.key == "sentinel-2b"


@pytest.mark.parametrize(
    ("name", "sensor", "scale", "offset", "level"),
    [
        ("LC08_L2SP_190030_20200301_20200822_02_T1.tif", "landsat-8", 2.75e-5, -0.2, "surface"),
        ("LC09_L1TP_190030_20220301_20220822_02_T1.tif", "landsat-9", 2e-5, -0.1, "toa"),
        ("LE07_L2SP_190030_20200301_20200822_02_T1.tif", "landsat-7", 2.75e-5, -0.2, "surface"),
    ],
)
def test_landsat_products(
    write: Write, name: str, sensor: str, scale: float, offset: float, level: str
) -> None:
    scene = Scene.open(write(name, count=6, level=9000))
    assert scene.sensor and scene.sensor.key == sensor and scene.level == level
    assert (scene.scale[0], scene.offset[0]) == pytest.approx((scale, offset))


def test_cirrus_band_means_top_of_atmosphere(write: Write) -> None:
    names = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9")
    scene = Scene.open(write(count=8, descriptions=names, level=9000), sensor="landsat-8")
    assert scene.level == "toa" and (scene.scale[0], scene.offset[0]) == (2e-5, -0.1)
    assert Scene.open(write(count=13)).level == "toa"


def test_scale_tags_of_the_file(write: Write) -> None:
    scene = Scene.open(write(scale=2e-5, offset=-0.01), bands=INLINE)
    assert (scene.scale[0], scene.offset[0]) == (2e-5, -0.01) and scene.warnings == []


@pytest.mark.parametrize(
    ("dtype", "level", "scale", "kind", "note"),
    [
        ("uint8", 50, 1 / 255, "uncalibrated", None),
        ("uint16", 1000, 1e-4, "surface", "reflectance x 10 000"),
        ("int16", 1000, 1e-4, "surface", "reflectance x 10 000"),
        ("uint16", 50, 1 / 255, "uncalibrated", "display values"),
        ("uint16", 14000, 1 / 65535, "surface", "whole range"),
        ("float32", 0.1, 1.0, "surface", None),
        ("float32", 1000, 1e-4, "surface", "floating-point values up to"),
        ("float64", 0.1, 1.0, "surface", None),
        ("float32", 1, 1.0, "surface", "above any surface"),
    ],
)
def test_the_rule_where_no_scale_is_stated(
    write: Write, dtype: str, level: float, scale: float, kind: str, note: str | None
) -> None:
    scene = Scene.open(write(dtype=dtype, level=level), bands=INLINE)
    assert scene.scale.tolist() == pytest.approx([scale] * 4) and scene.level == kind
    assert [note in text for text in scene.warnings] == [True] if note else scene.warnings == []


def test_a_sensor_s_scale_gives_way_to_numbers_over_the_whole_type(write: Write) -> None:
    scene = Scene.open(write(level=14000, descriptions=("B02", "B03", "B04", "B08")))
    assert scene.scale[0] == pytest.approx(1 / 65535) and "whole range" in scene.warnings[0]


def test_dark_floor_of_a_new_baseline_is_pointed_out(write: Write) -> None:
    scene = Scene.open(write(descriptions=("B02", "B03", "B04", "B08"), level=1300))
    assert (
        any("baseline 04.00 or later" in note for note in scene.warnings) and scene.offset[0] == 0
    )


def test_thermal_and_empty_bands_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "l8.tif"
    write_synthetic_scene(path, sensor="landsat-8", nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.zeros((96, 96), dtype="uint16"), 1)
    scene = Scene.open(path)
    assert [b.name for b in scene.bands] == ["B2", "B3", "B4", "B5", "B6", "B7", "B9"]
    assert scene.warnings == ["bands left out as thermal: B10, B11", "bands left out as empty: B1"]
    assert scene.overview().valid.mean() > 0.9


def test_display_picture_with_colours_is_an_aerial_image(write: Write) -> None:
    path = write(dtype="uint8", level=50)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [
            ColorInterp.red,
            ColorInterp.green,
            ColorInterp.blue,
            ColorInterp.alpha,
        ]
    scene = Scene.open(path)  # the fourth band is a picture, whatever the file calls it
    assert [b.name for b in scene.bands] == ["R", "G", "B", "NIR"] and scene.level == "uncalibrated"
    assert scene.overview().valid.all()


def test_palette_and_complex_rasters_are_refused(write: Write, tmp_path: Path) -> None:
    path = write(count=1, dtype="uint8", level=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.raises(BandError, match="palette"):
        Scene.open(path, bands="a=560/40")
    with pytest.raises(SceneError, match="complex"):
        Scene.open(write("c.tif", dtype="complex64"), bands=INLINE)
