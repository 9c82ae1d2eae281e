"""The shipped checkpoint: it loads, fits its budget, and answers rightly on the sample scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

import spex
from spex.engine import Extractor, load
from spex.evidence.indices import compute_indices, role_planes
from spex.model.loading import SHIPPED
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Scene


@pytest.fixture(scope="module")
def model() -> Extractor:
    return load()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.open(write_sample_scene(tmp_path_factory.mktemp("sample")))


def test_it_fits_the_budget_and_holds_no_pickle() -> None:
    files = {path.suffix: path.stat().st_size for path in SHIPPED.iterdir()}
    assert sum(files.values()) <= 64e6
    assert set(files) <= {".safetensors", ".json", ".jinja", ".md"}


def test_two_classes_in_one_sentence(model: Extractor, sample: Scene) -> None:
    result = model.extract(sample, "Where is open water, and where is vegetation?").to_dict()
    names = [mask["class"] for mask in result["masks"]] + [
        absence["class"] for absence in result["absent"]
    ]
    assert sorted(names) == ["vegetation", "water"]
    vegetation = next(mask for mask in result["masks"] if mask["class"] == "vegetation")
    assert (
        vegetation["evidence"]["NDVI"]["inside"] > 0.5 > vegetation["evidence"]["NDVI"]["outside"]
    )
    assert result["model"]["sha256"] and not result["refused"]


def test_vegetation_holds_all_that_is_green_and_nothing_that_is_bare(
    model: Extractor, sample: Scene, tmp_path: Path
) -> None:
    model.extract(sample, "map the vegetation").save(tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:
        mine = file.read(1) == 1
    ndvi = compute_indices(["NDVI"], role_planes(sample.read()))["NDVI"]
    assert mine[ndvi > 0.45].mean() > 0.98  # in between lies dry grass
    assert mine[ndvi < 0.2].mean() < 0.1 and (ndvi < 0.2).sum() > 1000


def test_what_is_not_there_is_said_not_to_be_there_and_the_impossible_is_refused(
    model: Extractor, sample: Scene
) -> None:
    assert model.extract(sample, "count the cars").to_dict()["refused"]
    burned = model.extract(sample, "find burn scars").to_dict()
    assert "S2" in burned["refused"] or "SWIR" in burned["refused"]
    small = model.extract(sample, "open water larger than 90 ha").to_dict()
    assert not small["masks"] and small["absent"][0]["class"] == "water"


def test_constraints_reach_the_mask(model: Extractor, sample: Scene) -> None:
    result = model.extract(sample, "the largest patch of vegetation in the northern half").to_dict()
    (mask,) = result["masks"]
    assert mask["constraints"] == {"where": "north", "top": 1} and mask["regions"] == 1


def test_the_second_question_encodes_nothing_again(model: Extractor, sample: Scene) -> None:
    with model.open(sample) as session:
        first = session.ask("vegetation").to_dict()["seconds"]["tiles"]
        second = session.ask("bare soil").to_dict()["seconds"]["tiles"]
    assert second < first


def test_the_five_lines_of_the_readme(sample: Scene, tmp_path: Path) -> None:
    extraction = spex.load().extract(sample.path, "separate forest from crops")
    extraction.save(tmp_path / "out")
    assert {mask["class"] for mask in extraction.to_dict()["masks"]} <= {"tree_cover", "cropland"}
    assert np.isfinite(extraction.to_dict()["seconds"]["total"])


@pytest.mark.parametrize("side", ["above", "below"])
def test_the_words_tell_the_side_of_the_threshold_that_was_executed(
    model: Extractor, sample: Scene, side: str
) -> None:
    result = model.extract(sample, f"vegetation with NDVI {side} 0.4").to_dict()
    assert result["masks"][0]["constraints"] == {"index": f"NDVI:{side}:0.4"}
    assert f"NDVI {side} 0.4" in result["answer"]


WORDINGS = (
    ("water",),
    ("Open water",),
    ("where is the water?",),
    ("please map all water bodies",),
    ("WATER",),
    ("Wo ist Wasser?",),
    ("agua",),
    ("Où est l'eau ?",),
    ("água",),
    ("水体",),
    ("vegetation", "now water"),
    ("water in the north", "water"),
)


def test_a_class_has_one_mask_in_any_wording_language_and_turn(
    model: Extractor, sample: Scene, tmp_path: Path
) -> None:
    found = set()
    with model.open(sample) as session, model.open(sample) as other:
        for number, turns in enumerate(WORDINGS):
            history = []
            opened = other if number == 1 else session
            for query in turns:
                result = opened.ask(query, history=history)
                history.append(result.exchange)
            folder = result.save(tmp_path / str(number))
            found.add(
                tuple((folder / name).read_bytes() for name in ("mask.tif", "probability.tif"))
            )
    assert len(found) == 1


def test_constraints_only_cut_a_mask(model: Extractor, sample: Scene) -> None:
    with model.open(sample) as session:
        whole = session.ask("vegetation").masks[0]
        north = session.ask("vegetation in the northern half").masks[0]
        south = session.ask("vegetation in the southern half").masks[0]
    assert np.array_equal(whole, north | south) and not (north & south).any()
