"""Fragments of the page: pictures, legend, facts; a query or a file name is never markup."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve.chat import mask_overview
from serve.fragments import facts_table, picture, scene_line
from spex.engine.extractor import load
from spex.evidence.classes import classes
from spex.raster.scene import Scene
from spex.results.extraction import Extraction
from spex.results.rendering import casing_colour, rgb


@pytest.fixture(scope="module")
def extraction(tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    from spex.raster.sample_scene import write_sample_scene

    scene = Scene.open(write_sample_scene(tmp_path_factory.mktemp("sample")))
    return load("rules").extract(scene, "open water and vegetation")


def images(html: str) -> list[np.ndarray]:
    encoded = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    files = [io.BytesIO(base64.b64decode(data)) for data in encoded]
    return [np.asarray(Image.open(file).convert("RGBA")) for file in files]


def test_each_mask_is_a_layer_in_its_colour(extraction: Extraction) -> None:
    values = mask_overview(extraction)
    html = picture(extraction.overview, extraction.facts, values)
    scene, *layers = images(html)
    assert scene.shape[:2] == (300, 300) and len(layers) == 2
    for facts, layer in zip(extraction.facts, layers, strict=True):
        shown = layer[1::3, 1::3, 3] > 0  # layers are enlarged three times
        np.testing.assert_array_equal(shown, values == facts.value)
        colour = classes()[facts.span.class_name].colour
        colours = {tuple(pixel) for pixel in layer[layer[..., 3] > 0][:, :3].tolist()}
        assert colours == {rgb(colour), casing_colour(colour)}
        assert set(np.unique(layer[..., 3])) == {0, 100, 255}
    assert html.count('type="checkbox"') == 2 and "true colour" in html


def test_a_large_scene_is_not_enlarged() -> None:
    from tests.scenes import even_bands, synthetic_scene

    bands = even_bands(4, 490, 860)
    scene = Scene.from_array(synthetic_scene(bands, 700, 1100)[0], bands)
    (image,) = images(picture(scene.overview(1024)))
    assert max(image.shape) == 1024


def test_the_facts_are_those_of_the_result(extraction: Extraction) -> None:
    html = facts_table(extraction.facts)
    for facts in extraction.facts:
        assert facts.span.phrase in html and facts.location in html
        assert all(name in html for name in facts.evidence)
    assert facts_table(()) == ""


def test_a_file_name_is_text(extraction: Extraction, tmp_path: Path) -> None:
    values = np.full((4, 8, 8), 0.2, np.float32)
    scene = Scene.from_array(
        values, extraction.scene.bands, name="<img src=x onerror=alert(1)>.tif"
    )
    html = scene_line(scene, scene.overview())
    assert "<img" not in html and "&lt;img" in html
    assert "4 bands (B02, B03, B04, B08)" in html and "no CRS" in html
