"""One picture of a result: the scene beside the same scene with its masks, a legend and a scale."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.enums import Resampling

from spex.results.fonts import OMITTED, Font, text_font
from spex.results.image_date import image_date
from spex.results.query_result import QueryResult
from spex.results.rendering import STRETCH, overlay, rgb, rgb_image
from spex.results.scale_bar import pixel_width_m, round_length

PANEL = 900  # longest side of a panel, pixels
_MARGIN = 16
_TITLE_SIZE = 21
_TEXT_SIZE = 17
_ROW = 28  # height of a line of the legend, pixels
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)
_FAINT_INK = (100, 100, 100)


def quicklook(result: QueryResult) -> Image.Image:
    """Draw the picture of a result; without masks the scene is drawn twice."""
    image, words = rgb_image(result.overview)
    legend = result.legend()
    size = _panel_size(*image.shape[:2])
    enlarged = size[0] > image.shape[1]
    smooth = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    plain = Image.fromarray(image).resize(size, smooth)
    values = Image.fromarray(_mask_values(result)).resize(size, Image.Resampling.NEAREST)
    colours = [colour for colour, _ in legend]
    covered = overlay(np.asarray(plain), np.asarray(values), colours, line=2, casing=1)
    panels = [plain, Image.fromarray(covered)]
    _draw_scale_bar(plain, result)

    below_each_other = size[0] > 1.3 * size[1]
    columns, rows = (1, 2) if below_each_other else (2, 1)
    width = columns * size[0] + (columns + 1) * _MARGIN
    top = _MARGIN + 2 * _ROW + _MARGIN // 2
    bottom = top + rows * (size[1] + _MARGIN)
    height = bottom + (max(len(legend), 1) + 1) * _ROW + _MARGIN
    canvas = Image.new("RGB", (width, height), _PAPER)
    text = _Text(ImageDraw.Draw(canvas), width - _MARGIN)
    text.write((_MARGIN, _MARGIN), result.query, _TITLE_SIZE, _INK)
    text.write((_MARGIN, _MARGIN + _ROW), _about(result), _TEXT_SIZE, _FAINT_INK)
    for number, panel in enumerate(panels):
        column, row = divmod(number, rows)
        corner = (_MARGIN + column * (size[0] + _MARGIN), top + row * (size[1] + _MARGIN))
        canvas.paste(panel, corner)
    for number, (colour, label) in enumerate(legend):
        y = bottom + _ROW * number
        text.pen.rectangle((_MARGIN, y, _MARGIN + 26, y + 18), fill=rgb(colour), outline=_INK)
        text.write((_MARGIN + 38, y - 1), label, _TEXT_SIZE, _INK)
    if not legend:
        text.write((_MARGIN, bottom), "no mask", _TEXT_SIZE, _INK)
    note = f"{words}, {STRETCH}"
    if text.omitted:
        note += f"; {OMITTED}: no font of this system has these letters, see extraction.json"
    text.write((_MARGIN, height - _MARGIN - _ROW + 6), note, _TEXT_SIZE, _FAINT_INK)
    return canvas


class _Text:
    """Writes lines of text, shortened at the right margin."""

    def __init__(self, pen: ImageDraw.ImageDraw, right: int) -> None:
        self.pen = pen
        self.omitted = False  # whether words were left out because no font has their letters
        self._right = right

    def write(
        self, corner: tuple[int, int], line: str, size: int, colour: tuple[int, int, int]
    ) -> None:
        drawn, font = text_font(line, size)
        self.omitted |= OMITTED in drawn and OMITTED not in line
        drawn = _shortened(drawn, font, self._right - corner[0])
        # Fonts differ in height: all lines of a size stand on the same base line.
        self.pen.text(
            (corner[0], corner[1] + size * 0.8), drawn, fill=colour, font=font, anchor="ls"
        )


def _mask_values(result: QueryResult) -> NDArray[np.uint8]:
    """The mask raster at the size of the overview, ``(h, w)``; zeros for a refusal."""
    shape = result.overview.valid.shape
    if result.mask_path is None:
        return np.zeros(shape, np.uint8)
    with rasterio.open(result.mask_path) as source:
        values: NDArray[np.uint8] = source.read(1, out_shape=shape, resampling=Resampling.nearest)
    return values


def _panel_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of a panel, pixels."""
    scale = PANEL / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _about(result: QueryResult) -> str:
    """File name, date and pixel size of the scene."""
    scene = result.scene
    parts = [PurePath(scene.path).name]
    taken = image_date(scene.path)
    if taken:
        parts.append(taken.isoformat())
    if scene.gsd_m:
        parts.append(f"pixels of {scene.gsd_m:.3g} m")
    return ", ".join(parts)


def _draw_scale_bar(panel: Image.Image, result: QueryResult) -> None:
    """A white bar with a dark casing at the lower left, up to a quarter of the panel long."""
    pixel_m = pixel_width_m(result.scene)
    if pixel_m is None or panel.width < 80:
        return
    panel_pixel_m = pixel_m * result.scene.width / panel.width
    length_m, label = round_length(panel_pixel_m * panel.width / 4)
    length = round(length_m / panel_pixel_m)
    left, base = _MARGIN, panel.height - _MARGIN
    pen = ImageDraw.Draw(panel)
    pen.rectangle((left - 2, base - 8, left + length + 2, base), fill=(0, 0, 0))
    pen.rectangle((left, base - 6, left + length, base - 2), fill=(255, 255, 255))
    drawn, font = text_font(label, _TEXT_SIZE)
    pen.text(
        (left, base - 14),
        drawn,
        fill=(255, 255, 255),
        font=font,
        anchor="ls",
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )


def _shortened(text: str, font: Font, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
