"""The picture of a result: fonts, scale bar, date, stretch and outlines."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageFont
from rasterio.transform import from_origin

from spex.engine import extract
from spex.raster.scene import Pixels, Scene
from spex.results import fonts
from spex.results.fonts import OMITTED, text_font
from spex.results.image_date import image_date, parse_date
from spex.results.quicklook import PANEL, quicklook
from spex.results.rendering import casing_colour, overlay, rgb_image
from spex.results.scale_bar import pixel_width_m, round_length
from spex.sensors import Band

RGB = (Band("B02", 490, 65), Band("B03", 560, 35), Band("B04", 665, 30))
SCRIPTS = ("水体在哪里", "أين الماء", "Где вода", "vann på øya")


@pytest.fixture
def result(painter, painted):
    water = np.full((100, 120), 0.1, np.float32)
    water[20:60, 30:50] = 0.9
    text = "<seg class=water>lakes</seg>: <fact:area>."
    return extract(painted(water=water), "lakes", painter(text))


def colours_of(picture: Image.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}


def test_a_notebook_shows_the_picture(result):
    with Image.open(io.BytesIO(result._repr_png_())) as picture:
        assert picture.format == "PNG"
        assert max(picture.size) > PANEL
        assert (0x1F, 0x78, 0xD1) in colours_of(picture)


def test_a_refusal_has_a_picture_too(painter, painted):
    refused = extract(painted(), "cars", painter("<refuse>Cars are too small.</refuse>"))
    assert Image.open(io.BytesIO(refused._repr_png_())).size[0] > PANEL


class TestFonts:
    def test_plain_text_looks_alike_everywhere(self):
        drawn, font = text_font("Forest: 12 km²", 17)
        assert drawn == "Forest: 12 km2"
        assert font.getname() == ImageFont.load_default(17).getname()

    @pytest.mark.parametrize("text", SCRIPTS)
    def test_a_text_is_drawn_whole_or_its_words_are_left_out(self, text):
        drawn, font = text_font(text, 17)
        assert drawn == text or OMITTED in drawn
        assert fonts._covers(font, drawn)

    def test_without_a_font_the_words_are_left_to_the_json(self, result, monkeypatch):
        monkeypatch.setattr(fonts, "font_files", lambda: ())
        fonts._system_font.cache_clear()
        assert text_font("水体 和 植被 water", 17)[0] == f"{OMITTED} water"
        with_boxes = quicklook(replace(result, query="水体在哪里"))
        assert with_boxes.size[0] > PANEL
        fonts._system_font.cache_clear()

    def test_a_font_of_the_system_is_taken_if_it_has_every_glyph(self, tmp_path, monkeypatch):
        """A font that knows one letter and no other stands for the fonts of a system."""
        opened = []

        class OneLetter:
            def getmask(self, character, mode):
                return ImageFont.load_default(17).getmask("A" if character == "水" else "|")

        def open_font(path, size):
            opened.append(path)
            return OneLetter()

        monkeypatch.setattr(fonts, "font_files", lambda: (tmp_path / "Some.ttf",))
        monkeypatch.setattr(fonts, "_open_font", open_font)
        fonts._system_font.cache_clear()
        assert text_font("水 水", 17)[0] == "水 水"
        assert text_font("水体", 17)[0] == OMITTED
        assert opened == [tmp_path / "Some.ttf"] * 2
        fonts._system_font.cache_clear()


class TestScale:
    @pytest.mark.parametrize(
        ("longest", "expected"),
        [(999, (500, "500 m")), (2000, (2000, "2 km")), (7, (5, "5 m")), (0.3, (0.2, "0.2 m"))],
    )
    def test_lengths_are_round(self, longest, expected):
        length, label = round_length(longest)
        assert (length, label) == (pytest.approx(expected[0]), expected[1])

    def test_a_pixel_is_as_wide_as_the_ground(self, painted):
        assert pixel_width_m(painted()) == pytest.approx(10, rel=1e-3)
        # On a grid of degrees a pixel at 60 degrees north is half as wide as at the equator.
        degrees = painted(crs=4326, transform=from_origin(10, 60.05, 0.001, 0.001))
        assert pixel_width_m(degrees) == pytest.approx(55.8, rel=2e-3)
        mercator = painted(crs=3857, transform=from_origin(0, 8_399_738 + 500, 10, 10))
        assert pixel_width_m(mercator) == pytest.approx(5, rel=0.01)

    def test_no_metres_no_bar(self, painter, painted):
        text = "<seg class=water>lakes</seg>."
        bare = extract(painted(crs=None), "lakes", painter(text))
        assert pixel_width_m(bare.scene) is None
        sized = extract(painted(crs=None, gsd_m=10), "lakes", painter(text))
        assert pixel_width_m(sized.scene) == 10
        left = (slice(750, 830), slice(0, 300))
        bar = np.asarray(quicklook(sized))[left] != np.asarray(quicklook(bare))[left]
        assert bar.any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017:01:18 10:20:30", date(2017, 1, 18)),
        ("2021-07-09T10:20:30.123Z", date(2021, 7, 9)),
        ("20230501", date(2023, 5, 1)),
        ("2023-13-01", None),
        ("9120760", None),
        ("", None),
    ],
)
def test_dates_are_read_as_files_state_them(text, expected):
    assert parse_date(text) == expected


def test_the_date_is_that_of_the_acquisition_where_it_is_stated(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 4, "width": 4}
    with rasterio.open(path, "w", **profile, transform=from_origin(0, 0, 1, 1)) as out:
        out.update_tags(TIFFTAG_DATETIME="2024:02:03 00:00:00")
    assert image_date(str(path)) == date(2024, 2, 3)
    with rasterio.open(path, "r+") as out:
        out.update_tags(ACQUISITIONDATE="2020-06-07")
    assert image_date(str(path)) == date(2020, 6, 7)
    assert image_date("array") is None


def pixels_of(values: np.ndarray) -> Pixels:
    scene = Scene.from_array(np.broadcast_to(values, (3, *values.shape)).copy(), RGB)
    return scene.overview()


class TestStretch:
    def test_clouds_do_not_turn_fields_black(self):
        rng = np.random.default_rng(0)
        values = rng.uniform(0.04, 0.12, (100, 100)).astype(np.float32)  # fields
        values[:25] = rng.uniform(0.5, 0.8, (25, 100))  # clouds
        image, _ = rgb_image(pixels_of(values))
        assert np.median(image[30:]) > 60
        assert np.ptp(image[30:].astype(int)) > 60  # fields differ from each other
        assert image[:25].min() >= np.percentile(image[30:], 99)

    def test_saturated_pixels_do_not_set_the_limits(self):
        values = np.linspace(0.05, 0.2, 10_000, dtype=np.float32).reshape(100, 100)
        plain = rgb_image(pixels_of(values))[0].astype(int)
        values[:3, :] = 1.0
        with_glint = rgb_image(pixels_of(values))[0].astype(int)
        assert abs(plain[10:] - with_glint[10:]).max() < 20

    def test_no_data_is_grey(self):
        values = np.full((3, 8, 8), 0.1, np.float32)
        valid = np.ones((8, 8), bool)
        valid[0] = False
        image, words = rgb_image(Scene.from_array(values, RGB, valid=valid).overview())
        assert (image[0] == 225).all()
        assert words == "true colour"


class TestOutline:
    @pytest.mark.parametrize("ground", [20, 90, 140, 250])  # forest, soil, asphalt, cloud
    @pytest.mark.parametrize("colour", ["#1b5e20", "#ffb300", "#e53935", "#1f78d1"])
    def test_it_shows_on_any_ground(self, ground, colour):
        image = np.full((30, 30, 3), ground, np.uint8)
        values = np.zeros((30, 30), np.uint8)
        values[10:20, 10:20] = 1
        drawn = overlay(image, values, [colour], line=2, casing=1).astype(int)
        line, casing = drawn[10, 15], drawn[9, 15]
        assert tuple(casing) == casing_colour(colour)
        assert max(abs(line - ground).max(), abs(casing - ground).max()) > 90
        assert abs(line - casing).max() > 90

    def test_a_casing_leaves_other_masks_alone(self):
        values = np.ones((20, 20), np.uint8)
        values[:, 10:] = 2
        values[0] = 255
        image = np.zeros((20, 20, 3), np.uint8)
        drawn = overlay(image, values, ["#ff0000", "#00ff00"], line=1, casing=2)
        assert (drawn[5, 9] == (255, 0, 0)).all()
        assert (drawn[5, 10] == (0, 255, 0)).all()
        assert (drawn[0] == 0).all()
