"""A sheet of pictures: every panel and caption where it belongs."""

from __future__ import annotations

import numpy as np

from spex.results.picture_sheet import CAPTION_HEIGHT, GAP, Panel, picture_sheet


def test_panels_keep_their_shape_and_captions_are_below() -> None:
    red = np.full((10, 20, 3), (255, 0, 0), np.uint8)
    blue = np.full((16, 16, 3), (0, 0, 255), np.uint8)
    rows = [("first", [Panel(red, "wide"), Panel(blue, "square")]), ("second", [Panel(blue, "")])]
    sheet = np.asarray(picture_sheet(rows, side=100))
    assert sheet.shape[1] == 2 * 100 + 3 * GAP
    is_red = (sheet == (255, 0, 0)).all(-1)
    is_blue = (sheet == (0, 0, 255)).all(-1)
    assert is_red.sum() == 100 * 50 and is_blue.sum() == 2 * 100 * 100
    rows_of_red = np.flatnonzero(is_red.any(1))
    assert is_blue[rows_of_red[0], 2 * GAP + 100]  # the second panel starts at the same height
    caption = sheet[rows_of_red[0] + 100 : rows_of_red[0] + 100 + CAPTION_HEIGHT, :100]
    assert (caption < 200).any()


def test_a_long_caption_is_wrapped_to_its_panel() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    rows = [("", [Panel(grey, "word " * 40), Panel(grey, "")])]
    sheet = np.asarray(picture_sheet(rows, side=120))
    second_column = sheet[-CAPTION_HEIGHT:, 2 * GAP + 120 :]
    assert (second_column == 255).all()
