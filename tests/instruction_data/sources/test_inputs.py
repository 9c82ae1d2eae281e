"""Scenes of a folder, glob, CSV or STAC collection as items, also damaged and unlabelled ones."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyogrio.raw import write
from rasterio.transform import from_origin

from instruction_data.sources.chips import Chip, SceneItem
from instruction_data.sources.inputs import SceneOptions, scene_items
from instruction_data.sources.windows import scene_windows
from spex.errors import RecordError, SpexError

Raster = Callable[..., Path]
WORLDCOVER = SceneOptions(legend="esa_worldcover")
COVER = np.repeat(np.array([80, 10], np.uint8), 32)[None].repeat(64, axis=0)


def read(item: SceneItem) -> list[Chip]:
    return list(pickle.loads(pickle.dumps(item)).read("train"))


def outcomes(items: list[SceneItem]) -> dict[str, str]:
    """Per item "chips" or the message of its error, as a build would report it."""
    found = {}
    for item in items:
        try:
            found[item.id] = "chips" if read(item) else "nothing"
        except SpexError as error:
            found[item.id] = str(error)
    return found


def table(path: Path, *rows: str, delimiter: str = ",") -> Path:
    path.write_text("\n".join(row.replace(",", delimiter) for row in rows) + "\n")
    return path


def test_a_folder_with_labels_beside_and_in_a_folder_of_labels(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    scene_file("data/images/a.tif")
    scene_file("data/images/deep/b.tif")
    raster("data/labels/a.tif", COVER)
    raster("data/images/deep/b_label.tif", COVER)
    items = list(scene_items(tmp_path / "data", WORLDCOVER))
    assert [item.id for item in items] == ["images_a", "images_deep_b"]
    (chip,) = read(items[0])
    assert chip.truth["water"][0][:, :32].all() and not chip.truth["water"][0][:, 32:].any()
    assert chip.labels == "ESA WorldCover, raster a.tif"
    assert items[0].footprint == pytest.approx((15.0, 45.147, 15.008, 45.153), abs=2e-3)


def test_a_chip_keeps_the_files_numbers_type_scale_and_place(
    scene_file: Raster, raster: Raster, tmp_path: Path
) -> None:
    scene_file("a.tif", side=160)
    raster("a_label.tif", np.full((160, 160), 80, np.uint8))
    (item,) = scene_items(tmp_path / "a.tif", SceneOptions(legend="esa_worldcover", chip=64))
    chips = read(item)
    assert [chip.id for chip in chips][:4] == [
        "a_00000_00000",
        "a_00000_00053",
        "a_00000_00106",
        "a_00053_00000",
    ]
    last = chips[-1]
    assert last.values.shape == (4, 54, 54) and last.values.dtype == np.uint16
    assert (last.scale, last.level, last.gsd_m) == (1e-4, "surface", pytest.approx(10, rel=1e-2))
    assert last.transform == from_origin(501060, 4998940, 10, 10) and last.crs.to_epsg() == 32633
    assert last.extra == {"scene": "a.tif", "window": "column 106, row 106, 54 x 54 pixels"}


def test_windows_cover_a_scene_of_any_size_once_each() -> None:
    for height, width, side in ((100, 230, 64), (64, 64, 64), (20, 500, 64)):
        covered = np.zeros((height, width), int)
        for window in scene_windows(height, width, side):
            rows, cols = window.toslices()
            covered[rows, cols] += 1
            assert max(window.height, window.width) <= side
            assert window.height >= min(height, side) // 2 and window.width >= min(width, side) // 2
        assert (covered == 1).all()


def test_windows_without_data_are_left_out_and_nodata_stays_nodata(
    raster: Raster, scene_file: Raster, tmp_path: Path
) -> None:
    path = scene_file("a.tif", side=128, nodata=0)
    values = np.full((4, 128, 128), 500, np.uint16)
    values[:, :, 64:] = 0
    values[:, :64, 60:64] = 0
    raster("a.tif", values, nodata=0)
    raster("a_label.tif", np.full((128, 128), 80, np.uint8))
    (item,) = scene_items(path, SceneOptions(legend="esa_worldcover", chip=64))
    chips = read(item)
    assert [chip.id for chip in chips] == ["a_00000_00000", "a_00064_00000"]
    assert chips[0].nodata == 0 and (chips[0].values[:, :, 60:] == 0).all()
    assert chips[0].truth["water"][1][:, 60:].all()


def test_without_labels_of_theirs_scenes_get_pseudo_labels(
    scene_file: Raster, raster: Raster, tmp_path: Path
) -> None:
    scene_file("data/a.tif")
    raster("data/b_label.tif", COVER)  # of a scene that is not there
    (item,) = scene_items(tmp_path / "data", SceneOptions())
    (chip,) = read(item)
    assert chip.labels.startswith("pseudo-labels:")
    assert chip.truth["vegetation"][0][:, 32:].all() and chip.truth["water"][0][:, :32].all()


def test_a_damaged_scene_among_many_and_one_without_label_are_named(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    for name in "abcd":
        scene_file(f"data/{name}.tif")
        raster(f"data/labels/{name}.tif", COVER)
    whole = (tmp_path / "data/b.tif").read_bytes()
    (tmp_path / "data/b.tif").write_bytes(whole[:300])
    (tmp_path / "data/labels/c.tif").unlink()
    outcome = outcomes(list(scene_items(tmp_path / "data", WORLDCOVER)))
    assert outcome["a"] == outcome["d"] == "chips"
    assert "b.tif" in outcome["b"] and "damaged" in outcome["b"]
    assert "c.tif has no label" in outcome["c"]


def test_labels_of_another_folder_a_glob_or_one_file_for_all(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    scene_file("images/a.tif")
    scene_file("images/b.tif", west=500640)
    for name, west in (("a", 500000), ("b", 500640)):
        raster(f"truth/{name}_label.tif", COVER, west=west)
    mosaic = raster("cover.tif", np.hstack([COVER, COVER]))
    for labels in (tmp_path / "truth", str(tmp_path / "truth/*.tif"), mosaic):
        options = SceneOptions(labels=labels, legend="esa_worldcover")
        found = [read(item) for item in scene_items(str(tmp_path / "images/*.tif"), options)]
        assert all(chip.truth["water"][0][:, :32].all() for chips in found for chip in chips)
        assert len(found) == 2


def test_one_vector_file_for_all_scenes_and_its_empty_polygons_named(
    tmp_path: Path, scene_file: Raster
) -> None:
    scene_file("images/a.tif")
    scene_file("images/b.tif", west=600000)
    lake = shapely.box(500000, 4999360, 500320, 5000000)
    write(
        tmp_path / "all.gpkg",
        geometry=shapely.to_wkb(np.array([lake, shapely.Polygon()])),
        crs="EPSG:32633",
        fields=np.array(["kind"], object),
        field_data=[np.array(["lake", "lake"], object)],
        geometry_type="Polygon",
    )
    items = scene_items(tmp_path / "images", SceneOptions(labels=tmp_path / "all.gpkg"))
    outcome = outcomes(list(items))
    assert outcome["a"] == "chips"
    assert "does not overlap" in outcome["b"]
    assert "features 2 have no area and were left out" in outcome["all.gpkg"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_of_scenes(
    tmp_path: Path, scene_file: Raster, raster: Raster, delimiter: str
) -> None:
    scene_file("images/a.tif")
    scene_file("images/b.tif")
    raster("labels/a.tif", COVER)
    raster("labels/roofs.tif", (COVER == 80).astype(np.uint8))
    path = table(
        tmp_path / "list.csv",
        "scene,label,class,place,split,date",
        "images/a.tif,labels/a.tif,,lake,val,2024-06-01",
        "images/b.tif,labels/roofs.tif,building,,,",
        delimiter=delimiter,
    )
    first, second = scene_items(path, WORLDCOVER)
    assert (first.place, first.split, second.place, second.split) == ("lake", "val", None, None)
    assert read(first)[0].extra["date"] == "2024-06-01"
    assert set(read(second)[0].truth) == {"building", "built_up"}


def test_a_csv_names_the_lines_that_cannot_be_read(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    scene_file("a.tif")
    raster("a_cover.tif", COVER)
    path = table(
        tmp_path / "list.csv",
        "scene,label,split",
        "a.tif,a_cover.tif,",
        "a.tif,,",
        "a.tif,a_cover.tif,test",
        "gone.tif,a_cover.tif,",
    )
    outcome = outcomes(list(scene_items(path, WORLDCOVER)))
    assert outcome["a"] == "chips"
    assert "line 3: no label" in outcome["a-2"]
    assert "line 4: split 'test' is neither train nor val" in outcome["a-3"]
    assert "gone.tif: no such file" in outcome["gone"]


def test_a_csv_without_labels_means_pseudo_labels(tmp_path: Path, scene_file: Raster) -> None:
    scene_file("a.tif")
    (item,) = scene_items(table(tmp_path / "list.csv", "scene", "a.tif"), SceneOptions())
    assert read(item)[0].labels.startswith("pseudo-labels")


def test_a_csv_with_strange_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="columns image, mask; use scene and any of label"):
        list(scene_items(table(tmp_path / "list.csv", "image,mask", "a,b"), SceneOptions()))


def stac_item(name: str, assets: dict[str, object], **properties: object) -> dict[str, object]:
    ring = [[15.0, 45.14], [15.01, 45.14], [15.01, 45.16], [15.0, 45.16], [15.0, 45.14]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "tiles",
        "assets": assets,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2024-06-01", **properties},
    }


def band(name: str, micrometres: float) -> list[dict[str, object]]:
    return [{"name": name, "center_wavelength": micrometres, "full_width_half_max": 0.03}]


def test_a_stac_collection_joins_the_bands_of_assets_of_several_resolutions(
    tmp_path: Path, raster: Raster
) -> None:
    rng = np.random.default_rng(0)
    fine, coarse = (rng.integers(1, 4000, (n, n)).astype(np.uint16) for n in (64, 32))
    raster("s2/B03.tif", fine)
    raster("s2/B8A.tif", coarse, transform=from_origin(500000, 5000000, 20, 20))
    raster("s2/cover.tif", COVER)
    shared = {"roles": ["data"], "raster:bands": [{"scale": 1e-4}]}
    assets = {
        "swir": {"href": "s2/B8A.tif", "eo:bands": band("B8A", 0.865), **shared},
        "green": {"href": "./s2/B03.tif", "eo:bands": band("B03", 0.56), **shared},
        "green-jp2": {"href": "s2/B03.jp2", "eo:bands": band("B03", 0.56), **shared},
        "scl": {"href": "s2/SCL.tif", "roles": ["data"]},
        "map": {"href": "s2/cover.tif", "roles": ["labels"]},
        "preview": {"href": "s2/preview.png", "roles": ["thumbnail"]},
    }
    path = tmp_path / "items.json"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [stac_item("S2_X", assets)]})
    )
    (item,) = scene_items(path, WORLDCOVER)
    assert item.footprint == (15.0, 45.14, 15.01, 45.16)
    (chip,) = read(item)
    assert [(b.name, b.wavelength_nm) for b in chip.bands] == [("B8A", 865), ("B03", 560)]
    assert np.array_equal(chip.values[1], fine)
    assert np.array_equal(chip.values[0], coarse.repeat(2, axis=0).repeat(2, axis=1))
    assert chip.scale == 1e-4 and chip.truth["water"][0][:, :32].all()
    assert chip.extra | {"window": ""} == {
        "stac_id": "S2_X",
        "collection": "tiles",
        "datetime": "2024-06-01",
        "scene": "S2_X",
        "window": "",
    }


def test_stac_bands_of_1_1_and_items_without_label_or_pixels(
    tmp_path: Path, raster: Raster
) -> None:
    raster("x.tif", np.full((2, 64, 64), 500, np.uint16))
    raster("cover.tif", COVER)
    bands = [
        {"name": "green", "eo:center_wavelength": 0.56, "raster:scale": 1e-4},
        {"name": "nir08", "eo:center_wavelength": 0.84, "raster:scale": 1e-4},
    ]
    pixels = {"href": "x.tif", "roles": ["data"], "bands": bands}
    with_label = stac_item("one", {"image": pixels, "labels": {"href": "cover.tif"}})
    preview = stac_item("three", {"preview": {"href": "x.png", "roles": ["thumbnail"]}})
    path = tmp_path / "items.geojson"
    path.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [with_label, stac_item("two", {"image": pixels}), preview],
            }
        )
    )
    outcome = outcomes(list(scene_items(path, WORLDCOVER)))
    assert outcome["one"] == "chips"
    assert "item two: no label" in outcome["two"]
    assert "item three: none of its assets has the role 'data'" in outcome["three"]


def test_stac_assets_over_http(tmp_path: Path, raster: Raster) -> None:
    values = np.random.default_rng(0).integers(1, 4000, (64, 64)).astype(np.uint16)
    raster("far/green.tif", values)
    raster("far/cover.tif", COVER)
    server = Path(__file__).parents[2] / "spex" / "raster" / "range_server.py"
    with subprocess.Popen(
        [sys.executable, str(server), str(tmp_path / "far")], stdout=subprocess.PIPE, text=True
    ) as far:
        try:
            assert far.stdout is not None
            root = f"http://127.0.0.1:{int(far.stdout.readline())}"
            green = {
                "href": f"{root}/green.tif",
                "roles": ["data"],
                "eo:bands": band("green", 0.56),
            }
            item = stac_item("far", {"green": green, "labels": {"href": f"{root}/cover.tif"}})
            (tmp_path / "items.json").write_text(
                json.dumps({"type": "FeatureCollection", "features": [item]})
            )
            (found,) = scene_items(tmp_path / "items.json", WORLDCOVER)
            (chip,) = read(found)
        finally:
            far.terminate()
    assert np.array_equal(chip.values[0], values) and chip.truth["water"][0][:, :32].all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a STAC item collection"),
        ("no json", "is not JSON"),
        ('{"id": "a", "assets": {"image": null}}', "is not valid STAC"),
        (
            '{"id": "a", "assets": {}, "geometry": {"type": "Round"}}',
            "is not valid STAC .*round",
        ),
    ],
)
def test_what_is_no_stac_collection_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "items.json").write_text(content)
    with pytest.raises(RecordError, match=message):
        list(scene_items(tmp_path / "items.json", SceneOptions()))


def test_nothing_found_and_a_wrong_legend_are_errors_before_anything_is_read(
    tmp_path: Path, scene_file: Raster
) -> None:
    with pytest.raises(RecordError, match="no scenes in"):
        list(scene_items(tmp_path, SceneOptions()))
    scene_file("a.tif")
    with pytest.raises(RecordError, match="neither a legend"):
        list(scene_items(tmp_path, SceneOptions(legend="nonsense")))


def test_a_scene_on_no_earthly_grid_is_named_and_the_others_read(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    scene_file("data/a.tif")
    scene_file("data/b.tif", crs='LOCAL_CS["plan",UNIT["metre",1]]')
    for name in "ab":
        raster(f"data/labels/{name}.tif", COVER)
    items = list(scene_items(tmp_path / "data", WORLDCOVER))
    assert items[1].footprint is None
    outcome = outcomes(items)
    assert outcome["a"] == "chips"
    assert "b.tif" in outcome["b"] and "CRS" in outcome["b"]
