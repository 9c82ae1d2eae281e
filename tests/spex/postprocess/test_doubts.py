"""What speaks against a mask: contrast, similar classes, what was left out; painted truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from spex.engine import Extraction, RulesPredictor, extract
from spex.evidence.indices import role_planes
from spex.evidence.scene_evidence import measure
from spex.postprocess.doubt_sweep import DoubtSweep, Strip
from spex.postprocess.doubts import Doubts
from spex.postprocess.fact_text import doubt_text
from spex.raster.scene import Scene
from spex.results.audit import AuditError, audit
from spex.sensors import Band

BANDS = (
    Band("B", 490, 60),
    Band("G", 560, 40),
    Band("R", 665, 30),
    Band("N", 842, 100),
    Band("S1", 1610, 90),
    Band("S2", 2200, 150),
)
SPECTRA = {
    "water": (0.06, 0.07, 0.04, 0.02, 0.01, 0.01),
    "green": (0.03, 0.07, 0.04, 0.42, 0.20, 0.09),
    "bright": (0.10, 0.20, 0.10, 0.24, 0.10, 0.08),  # MNDWI as of water, near infrared as of land
    "ground": (0.10, 0.14, 0.18, 0.26, 0.34, 0.30),
}
TEXT = (
    "<seg class=water>water</seg>: MNDWI <fact:contrast:MNDWI>; <fact:left_out>; <fact:confusion>."
)


def ask(scene: Scene, query: str) -> Extraction:
    """The masks of the index rules."""
    return extract(scene, query, RulesPredictor())


@pytest.fixture
def scene() -> Scene:
    """Bare ground and plants; 6 ha of water, 1.5 ha that only MNDWI takes for water."""
    cover = np.full((120, 100), 3)
    cover[:40] = 1
    cover[60:80, 10:40] = 0
    cover[100:115, 60:70] = 2
    values = np.array(list(SPECTRA.values()), np.float32)[cover].transpose(2, 0, 1)
    noise = np.random.default_rng(0).normal(0, 0.001, values.shape)
    place = {"crs": CRS.from_epsg(32633), "transform": from_origin(5e5, 53e5, 10, 10)}
    return Scene.from_array((values + noise).astype(np.float32), BANDS, **place)


def known(doubts: Doubts) -> set[str]:
    """What was measured."""
    return {name for name, value in doubts.to_dict().items() if value is not None}


def test_clauses_say_what_was_painted(
    scene: Scene, answer_with: Callable[[str], None], tmp_path: Path
) -> None:
    answer_with(TEXT)
    result = ask(scene, "water")
    assert result.answer == (
        "Water: MNDWI 1.18 higher inside than outside; "
        "1.50 ha beyond the MNDWI threshold were left out, "
        "most of it with NDVI above 0.30; no similar class fits the mask."
    )
    (mask,) = result.to_dict()["masks"]
    assert mask["left_out"]["pixels"] == 150 and mask["confusion"] == {
        "class": None,
        "fraction": 0.0,
    }
    folder = result.save(tmp_path / "out")
    document = json.loads((folder / "extraction.json").read_text(encoding="utf-8"))
    for key, value in (("pixels", 151), ("against", "like cloud"), ("fraction", 0.3)):
        wrong = json.loads(json.dumps(document))
        wrong["masks"][0]["left_out"][key] = value
        (folder / "extraction.json").write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(AuditError, match="left_out"):
            audit(folder, scene)


def test_what_the_request_leaves_out_is_not_blamed_on_the_pixels(
    scene: Scene, answer_with: Callable[[str], None]
) -> None:
    text = TEXT.replace("class=water", "class=water where=north")
    answer_with(text)
    result = ask(scene, "water in the north")
    assert result.absent  # all of the water lies in the south
    text = text.replace("where=north", "where=west")
    answer_with(text)
    answer = ask(scene, "water in the west").answer
    assert (
        "1.50 ha beyond the MNDWI threshold were left out, most of it with NDVI above 0.30"
        in answer
    )
    text = "<seg class=vegetation where=west>plants</seg>: <fact:left_out>."
    answer_with(text)
    answer = ask(scene, "plants in the west").answer
    assert "21.5 ha beyond the NDVI threshold were left out, most of it by what was asked" in answer


@pytest.mark.parametrize("rows", [120, 7])
def test_a_similar_class_is_named_with_its_share_however_the_strips_fall(
    scene: Scene, rows: int
) -> None:
    pixels = scene.read()
    evidence = measure(pixels)
    planes = role_planes(pixels)
    mask = np.zeros(pixels.valid.shape, bool)
    mask[50:80, 10:40] = True  # two thirds of it are water
    sweep = DoubtSweep("burned", evidence)
    for start in range(0, 120, rows):
        part = slice(start, start + rows)
        maps = evidence.recipe_maps({role: plane[part] for role, plane in planes.items()})
        nothing, valid = np.zeros_like(mask[part]), pixels.valid[part]
        cells = np.zeros(valid.shape, np.int8)
        levels = np.zeros(valid.shape, np.uint8)
        area = np.full((len(valid), 1), 100.0)
        sweep.add(Strip(mask[part], nothing, levels, valid, area, cells), maps)
    doubts = sweep.finish()
    assert doubts.similar == ("water", pytest.approx(2 / 3))
    assert (
        doubt_text(doubts, "confusion", in_metres=True)
        == "66.7 % of the mask also looks like water"
    )


def test_what_the_bands_cannot_tell_is_not_claimed(scene: Scene) -> None:
    visible = Scene.from_array(
        scene.read().values[:3], BANDS[:3], crs=scene.crs, transform=scene.transform
    )
    doubts = DoubtSweep("burned", measure(visible.read())).finish()
    assert not {"confusion", "left_out", "wrong_side", "rules"} & known(doubts)
    assert (
        doubt_text(doubts, "left_out", in_metres=True)
        == "these bands cannot show what was left out"
    )


def test_a_class_whose_parent_the_bands_cannot_tell_is_not_claimed_either(scene: Scene) -> None:
    values = scene.read().values[[0, 2, 3]]
    bands = [BANDS[i] for i in (0, 2, 3)]
    without_green = Scene.from_array(values, bands, crs=scene.crs, transform=scene.transform)
    pixels = without_green.read()
    evidence, everything = measure(pixels), pixels.valid
    sweep, maps = DoubtSweep("building", evidence), evidence.recipe_maps(role_planes(pixels))
    assert maps.recipe("building") and not maps.recipe("built_up")
    levels = np.full(everything.shape, 250, np.uint8)
    cells = np.zeros(everything.shape, np.int8)
    sweep.add(Strip(everything, ~everything, levels, everything, np.ones((120, 1)), cells), maps)
    assert not {"confusion", "left_out", "wrong_side", "rules"} & known(sweep.finish())
