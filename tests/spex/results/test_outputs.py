"""The result folder: every file of the contract, whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from pyogrio.raw import read as read_vectors
from rio_cogeo.cogeo import cog_validate

from spex.engine import extract
from spex.errors import OutputError
from spex.results.audit import AuditError, audit
from spex.results.folder import staged_folder

TEXT = (
    "<seg class=water>lakes</seg>: <fact:area>, largest <fact:largest>, MNDWI <fact:index:MNDWI>. "
    "<seg class=cropland>fields</seg>: <fact:area>, <fact:share>, mean size <fact:mean_area>, "
    "sure to <fact:probability>."
)
FILES = {
    "mask.tif",
    "mask.qml",
    "probability.tif",
    "regions.gpkg",
    "explanation.md",
    "quicklook.png",
    "extraction.json",
}


@pytest.fixture
def result(painter, painted):
    water = np.full((100, 120), 0.1, np.float32)
    water[20:60, 30:50] = 0.9
    water[60, 50] = 0.8  # touches the lake at a corner only: the same region
    water[80, 100:103] = 0.7
    fields = np.full((100, 120), 0.1, np.float32)
    fields[:15, 60:] = 0.8
    valid = np.ones((100, 120), bool)
    valid[90:] = False
    return extract(
        painted(water=water, cropland=fields, valid=valid), "lakes and fields", painter(TEXT)
    )


def test_the_folder_holds_what_the_contract_says(result, tmp_path):
    folder = result.save(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == FILES
    document = json.loads((folder / "extraction.json").read_text())
    assert document == json.loads(json.dumps(result.to_dict()))
    assert set(document) == {
        "schema", "query", "language", "answer", "scene", "masks", "absent", "ignored", "refused",
        "model", "tiles", "seconds", "warnings",
    }  # fmt: skip
    assert document["model"] == {"name": "painter", "sha256": "0" * 64}
    with (
        rasterio.open(folder / "mask.tif") as mask,
        rasterio.open(folder / "probability.tif") as probability,
    ):
        assert mask.crs == probability.crs == result.scene.crs
        assert mask.transform == probability.transform == result.scene.transform
        assert (mask.dtypes, mask.nodata) == (("uint8",), 255)
        assert mask.tags(1)["class_1"] == "water"
        assert mask.tags(1)["class_2"] == "cropland"
        assert mask.colormap(1)[1][:3] == (0x1F, 0x78, 0xD1)
        assert probability.count == 2
        assert probability.scales == (1 / 250, 1 / 250)
        assert probability.descriptions == ("probability of water", "probability of cropland")
        assert (mask.read(1)[90:] == 255).all()
        assert probability.read(1)[30, 40] / 250 == pytest.approx(0.9)
    for name in ("mask.tif", "probability.tif"):
        valid, errors, _ = cog_validate(folder / name, quiet=True)
        assert valid, errors


def test_regions_are_polygons_in_map_coordinates(result, tmp_path):
    folder = result.save(tmp_path / "out")
    meta, _, geometry, columns = read_vectors(folder / "regions.gpkg", layer="regions")
    table = dict(zip(meta["fields"], columns, strict=True))
    assert meta["crs"] == "EPSG:32633"
    assert sorted(zip(table["class"], table["pixels"], strict=True)) == [
        ("cropland", 900),
        ("water", 3),
        ("water", 801),
    ]
    shapes = shapely.from_wkb(geometry)
    assert shapely.is_valid(shapes).all()
    np.testing.assert_allclose(shapely.area(shapes), table["area_m2"])
    small = shapes[list(table["pixels"]).index(3)]
    assert small.bounds == (501_000, 5_299_190, 501_030, 5_299_200)
    assert table["mean_probability"][list(table["pixels"]).index(3)] == pytest.approx(
        0.7, abs=0.002
    )
    assert np.isfinite(table["MNDWI"][table["class"] == "water"]).all()


def test_regions_without_georeference_lie_where_desktop_gis_shows_the_raster(
    painter, painted, tmp_path
):
    water = np.full((100, 120), 0.1, np.float32)
    water[20:30, 40:50] = 0.9
    result = extract(
        painted(water=water, crs=None),
        "water",
        painter("<seg class=water>water</seg>: <fact:area>."),
    )
    _, _, geometry, _ = read_vectors(
        result.save(tmp_path / "out") / "regions.gpkg", layer="regions"
    )
    assert shapely.from_wkb(geometry[0]).bounds == (40, -30, 50, -20)


def test_nothing_found_is_an_empty_layer(painter, painted, tmp_path):
    result = extract(painted(), "water", painter("<seg class=water>water</seg>: <fact:area>."))
    folder = result.save(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == FILES
    meta, _, geometry, _ = read_vectors(folder / "regions.gpkg", layer="regions")
    assert len(geometry) == 0
    assert meta["crs"] == "EPSG:32633"
    assert "Not found" in (folder / "explanation.md").read_text()


def test_a_refusal_leaves_no_rasters(painter, painted, tmp_path):
    result = extract(painted(), "cars", painter("<refuse>Cars are smaller than a pixel.</refuse>"))
    folder = result.save(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        "explanation.md",
        "quicklook.png",
        "extraction.json",
    }
    assert "Cars are smaller" in (folder / "explanation.md").read_text()


def test_the_explanation_says_what_supports_each_mask(result, tmp_path):
    text = (result.save(tmp_path / "out") / "explanation.md").read_text()
    for expected in (
        "# Lakes and fields in ",
        "Asked: “lakes and fields”",
        "**Lakes**: 8.04 ha, 7.44 % of the scene, in 2 regions, the largest 8.01 ha, mostly in",
        "**Fields**: 9.00 ha, 8.33 % of the scene, in one region, mostly in the northeast.",
        "mask.tif",
    ):
        assert expected in text


def test_the_quicklook_shows_the_masks_in_their_colours(result, tmp_path):
    with Image.open(result.save(tmp_path / "out") / "quicklook.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
        assert max(picture.size) <= 2000
    assert (0x1F, 0x78, 0xD1) in colours


class TestAudit:
    def test_a_good_result_passes(self, result, tmp_path):
        audit(result.save(tmp_path / "out"), result.scene)

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda d: d["masks"][0].update(area_m2=80_401.0), "area_m2"),
            (lambda d: d["masks"][1].update(regions=2), "regions"),
            (lambda d: d["masks"][1].update(mean_probability=0.81), "mean_probability"),
            (lambda d: d["masks"][0]["evidence"]["MNDWI"].update(outside=0.5), "MNDWI outside"),
            (lambda d: d["scene"].update(valid_fraction=0.91), "valid_fraction"),
            (lambda d: d.update(answer=d["answer"].replace("8.04", "8.05")), "8.05"),
        ],
    )
    def test_a_stated_quantity_that_the_files_deny_is_found(self, result, tmp_path, change, what):
        folder = result.save(tmp_path / "out")
        document = json.loads((folder / "extraction.json").read_text())
        change(document)
        (folder / "extraction.json").write_text(json.dumps(document))
        with pytest.raises(AuditError, match=what):
            audit(folder, result.scene)

    @pytest.mark.parametrize(
        ("constraints", "what"),
        [
            ({"min_area": "4px"}, "min_area=4px"),
            ({"min_area": "0.04ha"}, "min_area=0.04ha"),
            ({"min_area": "1%"}, "min_area=1%"),
            ({"max_area": "8ha"}, "max_area=8ha"),
            ({"max_area": "1%"}, "max_area=1%"),
            ({"where": "north+west_third"}, r"where=north\+west_third"),
            ({"where": "-east"}, "where=-east"),
            ({"top": 1}, "2 regions under top=1"),
            ({"bottom": 1}, "2 regions under bottom=1"),
            ({"index": "MNDWI:below:-0.9,MNDWI:above:-1"}, "MNDWI:below:-0.9"),
        ],
    )
    def test_a_constraint_that_the_files_break_is_found(self, result, tmp_path, constraints, what):
        folder = result.save(tmp_path / "out")
        document = json.loads((folder / "extraction.json").read_text())
        document["masks"][0]["constraints"] = constraints
        (folder / "extraction.json").write_text(json.dumps(document))
        with pytest.raises(AuditError, match=f"mask 1 holds .*{what}"):
            audit(folder, result.scene)

    @pytest.mark.parametrize(
        "constraints",
        [
            {"min_area": "3px", "max_area": "8.01ha", "where": "north+south", "top": 2},
            {"max_area": "7.5%", "where": "-northeast", "bottom": 2},
            {"top": -1, "not": "cropland", "near": "cropland:10", "far": "cropland:10"},
        ],
    )
    def test_constraints_that_the_files_keep_pass(self, result, tmp_path, constraints):
        folder = result.save(tmp_path / "out")
        document = json.loads((folder / "extraction.json").read_text())
        document["masks"][0]["constraints"] = constraints
        (folder / "extraction.json").write_text(json.dumps(document))
        audit(folder, result.scene)

    def test_a_changed_mask_is_found(self, result, tmp_path):
        folder = result.save(tmp_path / "out")
        with rasterio.open(folder / "mask.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as mask:
            values = mask.read(1)
            values[25, 35] = 0
            mask.write(values, 1)
        with pytest.raises(AuditError, match="pixels"):
            audit(folder, result.scene)


class TestOutputFolder:
    def test_a_folder_in_use_is_refused_and_left_alone(self, result, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"not empty.*--overwrite"):
            result.save(tmp_path / "out")
        with pytest.raises(OutputError, match=r"extraction\.json"):
            result.save(tmp_path / "out", overwrite=True)
        assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"

    def test_an_earlier_result_is_replaced_whole(self, result, tmp_path):
        folder = result.save(tmp_path / "out")
        (folder / "quicklook.aux").write_text("left over")
        result.save(folder, overwrite=True)
        assert {path.name for path in folder.iterdir()} == FILES
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_an_empty_folder_is_used(self, result, tmp_path):
        (tmp_path / "out").mkdir()
        result.save(tmp_path / "out")

    def test_a_file_in_its_place(self, result, tmp_path):
        (tmp_path / "out").write_text("a file")
        with pytest.raises(OutputError, match="is a file"):
            result.save(tmp_path / "out")

    def test_a_parent_that_is_a_file(self, result, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot be written"):
            result.save(tmp_path / "file" / "out")

    @pytest.mark.parametrize(
        "stop", [KeyboardInterrupt, RuntimeError, OSError(28, "No space left on device")]
    )
    def test_a_stop_on_the_way_keeps_the_old_result(self, result, tmp_path, stop):
        folder = result.save(tmp_path / "out")
        expected = OutputError if isinstance(stop, OSError) else stop
        with pytest.raises(expected), staged_folder(folder, overwrite=True) as aside:
            (aside / "mask.tif").write_text("half")
            raise stop
        assert {path.name for path in folder.iterdir()} == FILES
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_read_only_parent(self, result, tmp_path):
        tmp_path.chmod(0o555)
        try:
            with pytest.raises(OutputError, match="Permission denied"):
                result.save(tmp_path / "out")
        finally:
            tmp_path.chmod(0o755)

    def test_a_full_disk_leaves_nothing(self, scene_file, scene_bands, tmp_path):
        """A file size limit stands for the full disk: the write call fails in the same way."""
        out = tmp_path / "results" / "out"

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

        program = (
            "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "from spex.cli.main import main;"
            "sys.exit(main(sys.argv[1:]))"
        )
        command = [
            sys.executable,
            "-c",
            program,
            "extract",
            str(scene_file),
            "water",
            "-o",
            str(out),
        ]
        command += ["--method", "rules", "--bands", scene_bands]
        done = subprocess.run(
            command, preexec_fn=limit, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_work_files_go_with_the_extraction(painter, painted):
    result = extract(painted(), "water", painter("<seg class=water>water</seg>: <fact:area>."))
    folder = Path(result.work.name)
    assert folder.exists()
    del result
    assert not folder.exists()


def test_two_masks_of_one_class_and_phrase_are_told_apart(painter, painted, tmp_path):
    plane = np.full((100, 120), 0.05, np.float32)
    plane[10:30, 10:30] = plane[60:70, 80:90] = 0.9
    text = "<seg class=water>lakes</seg> and <seg class=water where=north>lakes</seg>."
    folder = extract(painted(water=plane), "lakes", painter(text)).save(tmp_path / "out")
    masks = json.loads((folder / "extraction.json").read_text(encoding="utf-8"))["masks"]
    assert [mask["pixels"] for mask in masks] == [100, 400]
