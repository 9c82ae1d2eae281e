"""A sheet of pictures: rows of equal panels with titles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PANEL = 224
"""Side of a panel, pixels."""
INK = (30, 30, 30)
"""Colour of text and lines."""
_GAP = 8
_TITLE_HEIGHT = 44

Panel = tuple[str, Image.Image]
"""A caption and a picture of side ``PANEL``."""


def write_sheet(rows: Sequence[tuple[str, Sequence[Panel]]], path: Path) -> None:
    """Write rows of panels as one picture.

    Args:
        rows: The title of each row, and its panels.
        path: The picture.
    """
    columns = max(len(panels) for _, panels in rows)
    row_height = PANEL + _TITLE_HEIGHT + _GAP
    size = (columns * (PANEL + _GAP) + _GAP, len(rows) * row_height + _GAP)
    canvas = Image.new("RGB", size, "white")
    font = ImageFont.load_default(13)
    pen = ImageDraw.Draw(canvas)
    for row, (title, panels) in enumerate(rows):
        top = _GAP + row * row_height
        pen.text((_GAP, top), title, fill=INK, font=font)
        for column, (caption, panel) in enumerate(panels):
            left = _GAP + column * (PANEL + _GAP)
            pen.text((left, top + 20), caption, fill=INK, font=font)
            canvas.paste(panel, (left, top + _TITLE_HEIGHT))
    canvas.save(path, optimize=True)
