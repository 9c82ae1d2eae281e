"""A sheet of pictures: rows of panels of one size, each with its caption below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spex.results.fonts import Font, text_font

PANEL_SIDE = 224
"""Longer side of a panel in pixels, unless another is asked for."""
GAP = 12
"""Pixels between panels."""
CAPTION_HEIGHT = 48
"""Height in pixels of the captions of a row: three lines."""
_TITLE_HEIGHT = 24
_FONT_SIZE = 13
_LINE_HEIGHT = 15
_MIN_LETTER_WIDTH = 5  # mean of a line, pixels
_BACKGROUND = (255, 255, 255)
_TITLE_COLOUR = (30, 30, 30)
_CAPTION_COLOUR = (110, 110, 110)


@dataclass(frozen=True)
class Panel:
    """A picture and what it shows.

    Attributes:
        image: uint8 (h, w, 3).
        caption: What it shows.
    """

    image: NDArray[np.uint8]
    caption: str


def picture_sheet(
    rows: Sequence[tuple[str, Sequence[Panel]]], side: int = PANEL_SIDE
) -> Image.Image:
    """Draw rows of panels below each other.

    Args:
        rows: Title and panels of each row.
        side: Longer side of a panel in pixels.
    """
    width = GAP + max(len(panels) for _, panels in rows) * (side + GAP)
    row_height = _TITLE_HEIGHT + side + CAPTION_HEIGHT
    sheet = Image.new("RGB", (width, GAP + len(rows) * row_height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, (title, panels) in enumerate(rows):
        top = GAP + number * row_height
        words, font = text_font(title, _FONT_SIZE)
        pen.text((GAP, top), words, fill=_TITLE_COLOUR, font=font)
        paste_panels(sheet, panels, (GAP, top + _TITLE_HEIGHT), side)
    return sheet


def paste_panels(
    sheet: Image.Image, panels: Sequence[Panel], corner: tuple[int, int], side: int
) -> None:
    """Draw a row of panels and their captions on a sheet.

    Args:
        sheet: Where to draw.
        panels: From left to right.
        corner: Left and top of the row in pixels.
        side: Longer side of a panel in pixels.
    """
    pen = ImageDraw.Draw(sheet)
    left, top = corner
    for panel in panels:
        sheet.paste(_resized(panel.image, side), (left, top))
        words, font = text_font(panel.caption, _FONT_SIZE)
        lines = _wrapped(words, font, side)
        for number, line in enumerate(lines[: CAPTION_HEIGHT // _LINE_HEIGHT]):
            line_top = top + side + 2 + _LINE_HEIGHT * number
            pen.text((left, line_top), line, fill=_CAPTION_COLOUR, font=font)
        left += side + GAP


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Lines of a text that are at most ``width`` pixels wide."""
    for letters in range(width // _MIN_LETTER_WIDTH, 1, -1):
        lines = textwrap.wrap(text, letters)
        if all(font.getlength(line) <= width for line in lines):
            return lines
    return [text]


def _resized(image: NDArray[np.uint8], side: int) -> Image.Image:
    """An image whose longer side is ``side``; enlarged pixels stay sharp."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    return Image.fromarray(image).resize(size, resampling)
