"""Labels on the scene's grid: class rasters, masks and polygons, sound and faulty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from pyogrio.raw import write
from rasterio.transform import from_origin
from rasterio.windows import Window

from instruction_data.sources.chips import Truth
from instruction_data.sources.labels import open_labels
from instruction_data.sources.legends import legend
from instruction_data.sources.polygons import empty_polygons
from spex.errors import RecordError
from spex.raster.scene import Scene

Raster = Callable[..., Path]
ALL = Window(0, 0, 64, 64)


def truth_of(
    path: Path, scene: Path, name: str | None = "esa_worldcover", column: str | None = None
) -> Truth:
    with open_labels(
        str(path), Scene.open(scene), None if name is None else legend(name), column
    ) as labels:
        return labels.truth(ALL)


def polygons(
    path: Path,
    shapes: list[shapely.Geometry],
    crs: str | None = "EPSG:32633",
    **fields: list[object],
) -> Path:
    path.unlink(missing_ok=True)
    columns = [
        np.array(v, object if not v or isinstance(v[0], str) else None) for v in fields.values()
    ]
    write(
        path, geometry=shapely.to_wkb(np.array(shapes)), fields=np.array(list(fields), object),
        field_data=columns, geometry_type="Unknown", crs=crs,
    )  # fmt: skip
    return path


def square(col: int, row: int, side: int) -> shapely.Geometry:
    """A square of pixels on the grid of the scenes made here."""
    west, north = 500000 + 10 * col, 5000000 - 10 * row
    return shapely.box(west, north - 10 * side, west + 10 * side, north)


def halves(left: int, right: int) -> np.ndarray:
    codes = np.full((64, 64), left, np.uint8)
    codes[:, 32:] = right
    return codes


def test_a_class_raster_of_the_scenes_own_grid(scene_file: Raster, raster: Raster) -> None:
    truth = truth_of(raster("cover.tif", halves(80, 10)), scene_file())
    assert np.array_equal(truth["water"][0], halves(1, 0) == 1)
    assert not truth["water"][1].any()


def test_pixels_of_a_millionth_degree_are_told_apart(scene_file: Raster, raster: Raster) -> None:
    side = 2.7e-6  # 0.3 m
    scene = scene_file(crs="EPSG:4326", transform=from_origin(15, 45, side, side))
    label = raster(
        "l.tif",
        halves(80, 10),
        crs="EPSG:4326",
        transform=from_origin(15 + 3 * side, 45, side, side),
    )
    assert truth_of(label, scene)["water"][0].sum(axis=1).tolist() == [32] * 64
    assert truth_of(label, scene)["water"][1][:, :3].all()


def test_a_coarser_raster_in_another_crs_lands_where_it_belongs(
    scene_file: Raster, raster: Raster
) -> None:
    # Degrees instead of UTM, about 22 m instead of 10 m.
    # The edge between the halves lies at 15.00408 degrees east.
    codes = np.full((60, 60), 10, np.uint8)
    codes[:, :20] = 80
    grid = {
        "crs": "EPSG:4326",
        "transform": from_origin(15.00408 - 20 * 0.0002, 45.156, 0.0002, 0.0002),
    }
    water, unknown = truth_of(raster("cover.tif", codes, **grid), scene_file())["water"]
    expected = halves(1, 0) == 1
    assert not unknown[:, 2:-2].any()
    assert (water != expected)[:, 2:-2].mean() < 0.04  # the edge, by a pixel of the label


def test_ground_that_the_label_does_not_reach_and_its_nodata_are_unknown(
    scene_file: Raster, raster: Raster
) -> None:
    part = raster("part.tif", halves(80, 0)[:, :40], nodata=0, west=500000)
    water, unknown = truth_of(part, scene_file())["water"]
    assert water[:, :32].all() and unknown[:, 32:].all()

    mask = raster(
        "mask.tif", np.zeros((64, 40), np.uint8)
    )  # no nodata: its zeros are "not water", the rest is unknown
    water, unknown = truth_of(mask, scene_file(), "mask:water")["water"]
    assert not unknown[:, :40].any() and unknown[:, 40:].all()


def test_a_label_elsewhere_is_an_error_that_names_both_extents(
    scene_file: Raster, raster: Raster
) -> None:
    far = raster("far.tif", halves(80, 10), west=600000)
    with pytest.raises(
        RecordError,
        match=r"far\.tif does not overlap .*scene\.tif: the label spans 600000.*scene 500000",
    ):
        truth_of(far, scene_file())


def test_a_scene_whose_rows_run_northwards(
    tmp_path: Path, scene_file: Raster, raster: Raster
) -> None:
    scene = scene_file(transform=Affine(10, 0, 500000, 0, 10, 5000000 - 640))
    (south,) = np.nonzero(
        truth_of(raster("l.tif", halves(80, 10).T.copy()), scene)["water"][0].all(axis=1)
    )
    assert south.tolist() == list(range(32, 64))
    path = polygons(tmp_path / "p.gpkg", [square(0, 0, 32)], kind=["lake"])
    assert truth_of(path, scene, None)["water"][0][32:, :32].all()


def test_codes_that_the_legend_lacks_are_named(scene_file: Raster, raster: Raster) -> None:
    with pytest.raises(RecordError, match=r"odd\.tif: codes 33 are not in the legend"):
        truth_of(raster("odd.tif", halves(80, 33)), scene_file())


def test_a_label_without_crs_is_taken_on_the_same_grid_only_if_it_has_the_scenes_size(
    scene_file: Raster, raster: Raster
) -> None:
    plain = raster("plain.tif", halves(80, 10), crs=None, transform=None)
    assert truth_of(plain, scene_file())["water"][0][:, :32].all()
    small = raster("small.tif", halves(80, 10)[:32], crs=None, transform=None)
    with pytest.raises(
        RecordError,
        match=r"small\.tif has 64 x 32 pixels, the scene 64 x 64, and .*small\.tif no CRS",
    ):
        truth_of(small, scene_file())


@pytest.mark.parametrize("on", [1, 255])
def test_a_binary_mask_speaks_of_one_class(scene_file: Raster, raster: Raster, on: int) -> None:
    truth = truth_of(raster("mask.tif", halves(on, 0)), scene_file(), "mask:building")
    assert set(truth) == {"building", "built_up"}
    assert truth["building"][0][:, :32].all() and not truth["building"][1].any()
    assert truth["built_up"][1][:, 32:].all()  # what is no building may be a street


def test_a_raster_needs_a_legend_and_one_band(scene_file: Raster, raster: Raster) -> None:
    with pytest.raises(RecordError, match="state what the codes mean"):
        truth_of(raster("cover.tif", halves(80, 10)), scene_file(), None)
    with pytest.raises(RecordError, match="has 3 bands"):
        truth_of(raster("rgb.tif", np.zeros((3, 64, 64), np.uint8)), scene_file())


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp"])
def test_polygons_with_a_class_column(tmp_path: Path, scene_file: Raster, suffix: str) -> None:
    path = polygons(
        tmp_path / f"p{suffix}",
        [square(0, 0, 16), square(32, 0, 16)],
        kind=["Lake", "forest"],
        note=["a", "b"],
    )
    truth = truth_of(path, scene_file(), None, "kind")
    assert truth["water"][0].sum() == 256 and truth["water"][0][:16, :16].all()
    assert truth["tree_cover"][0][:16, 32:48].all()
    assert not truth["water"][0][:16, 32:48].any() and not truth["water"][1][:16, 32:48].any()
    assert truth["water"][1][20:].all()  # polygons of positives: the rest is unknown


def test_polygons_in_degrees_are_reprojected(tmp_path: Path, scene_file: Raster) -> None:
    # 500000 east is 15 degrees exactly; the scene is 640 m wide, some 0.00815 degrees
    path = polygons(
        tmp_path / "p.geojson", [shapely.box(14.9, 45.0, 15.00408, 45.3)], "EPSG:4326", code=[80]
    )
    water = truth_of(path, scene_file())["water"][0]
    assert np.abs(water.sum(axis=1) - 32).max() <= 1


def test_polygons_that_reach_beyond_the_scenes_projection(
    tmp_path: Path, scene_file: Raster
) -> None:
    path = polygons(
        tmp_path / "p.geojson", [shapely.box(-180, -90, 180, 90)], "EPSG:4326", kind=["sea"]
    )
    assert truth_of(path, scene_file(), None)["water"][0].all()


def test_polygons_across_the_antimeridian(tmp_path: Path, scene_file: Raster) -> None:
    scene = scene_file(
        crs="EPSG:32601", west=165701, north=300
    )  # 180 degrees run through its middle
    path = polygons(
        tmp_path / "p.geojson", [shapely.box(179, -1, 180, 1)], "EPSG:4326", kind=["lake"]
    )
    water = truth_of(path, scene, None)["water"][0]
    assert water[:, :31].all() and not water[:, 33:].any()


def test_a_mapping_can_say_what_lies_outside_of_all_polygons(
    tmp_path: Path, scene_file: Raster
) -> None:
    (tmp_path / "m.yaml").write_text("codes: {lake: water, wood: tree_cover}\nrest: other\n")
    path = polygons(tmp_path / "p.gpkg", [square(0, 0, 16)], kind=["lake"])
    water, unknown = truth_of(path, scene_file(), str(tmp_path / "m.yaml"))["water"]
    assert water.sum() == 256 and not unknown.any()


def test_polygons_of_a_mask_need_no_column(tmp_path: Path, scene_file: Raster) -> None:
    path = polygons(tmp_path / "p.gpkg", [square(4, 4, 8)], height=[3.0])
    building, unknown = truth_of(path, scene_file(), "mask:building")["building"]
    assert building.sum() == 64 and not unknown.any()


def test_polygons_of_different_classes_that_overlap_are_unknown_there(
    tmp_path: Path, scene_file: Raster
) -> None:
    shapes = [square(0, 0, 16), square(8, 0, 16), square(0, 12, 8)]
    path = polygons(tmp_path / "p.gpkg", shapes, kind=["lake", "forest", "pond"])
    water, unknown = truth_of(path, scene_file(), None)["water"]
    assert unknown[:16, 8:16].all() and water[:20, :8].all() and not water[:16, 8:].any()


def test_invalid_polygons_are_repaired_and_counted(tmp_path: Path, scene_file: Raster) -> None:
    bow = shapely.Polygon(
        [(500000, 5000000), (500320, 4999680), (500320, 5000000), (500000, 4999680)]
    )
    path = polygons(tmp_path / "p.gpkg", [bow], kind=["lake"])
    with open_labels(str(path), Scene.open(scene_file()), None) as labels:
        assert "1 invalid ones repaired" in labels.described
        assert labels.truth(ALL)["water"][0].sum() == pytest.approx(32 * 32 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "contains no polygon"),
        ([square(100000, 0, 4)], "does not overlap"),
        ([shapely.Point(500100, 4999900)], "features 1 have no area"),
    ],
)
def test_polygons_that_cannot_serve_are_refused(
    tmp_path: Path, scene_file: Raster, shapes: list[shapely.Geometry], message: str
) -> None:
    path = polygons(tmp_path / "p.gpkg", shapes, kind=["lake"] * len(shapes))
    with pytest.raises(RecordError, match=message):
        truth_of(path, scene_file(), None)


def test_empty_polygons_of_a_file_are_listed(tmp_path: Path) -> None:
    path = polygons(
        tmp_path / "p.gpkg",
        [square(0, 0, 4), shapely.Polygon(), square(8, 0, 4)],
        kind=["lake"] * 3,
    )
    assert empty_polygons(str(path)) == [2]


def test_attributes_that_no_legend_lists_and_columns_that_are_not_there(
    tmp_path: Path, scene_file: Raster
) -> None:
    path = polygons(tmp_path / "p.gpkg", [square(0, 0, 8)], kind=["qwerty"], note=["x"])
    with pytest.raises(RecordError, match="column kind that name no SPEX class: 'qwerty'"):
        truth_of(path, scene_file(), None, "kind")
    with pytest.raises(RecordError, match="qwerty are not in the legend"):
        truth_of(path, scene_file(), "corine", "kind")
    with pytest.raises(RecordError, match=r"which column holds the class.*kind, note"):
        truth_of(path, scene_file(), None)
    with pytest.raises(RecordError, match="has no column 'sort'; it has kind, note"):
        truth_of(path, scene_file(), None, "sort")


def test_polygons_without_crs_cannot_be_put_on_a_scene(tmp_path: Path, scene_file: Raster) -> None:
    path = polygons(tmp_path / "p.shp", [square(0, 0, 8)], None, kind=["lake"])
    with pytest.raises(RecordError, match=r"p\.shp has no CRS"):
        truth_of(path, scene_file(), None)


def test_a_file_that_is_no_vector_file_is_an_error(tmp_path: Path, scene_file: Raster) -> None:
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "nonsense"}))
    with pytest.raises(RecordError, match="cannot be read as polygons"):
        truth_of(tmp_path / "p.geojson", scene_file(), None)
