"""One picture of a result: the scene as the eye sees it, and the masks laid over it with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spex.evidence.indices import role_planes
from spex.raster.scene import Pixels

PANEL = 900  # longest side of a panel, pixels
_MARGIN = 16
_BACK, _INK, _NO_DATA = (255, 255, 255), (30, 30, 30), (225, 225, 225)


def rgb_image(pixels: Pixels) -> tuple[NDArray[np.uint8], str]:
    """True colour, else colour infrared, else three bands across the spectrum; stretched between percentiles 2 and 98.

    Returns:
        Image ``(h, w, 3)`` and what its colours are.
    """
    planes = role_planes(pixels)
    if set("RGB") <= planes.keys():
        bands, words = [planes[role] for role in "RGB"], "true colour"
    elif set("NRG") <= planes.keys():
        bands, words = [planes[role] for role in "NRG"], "colour infrared"
    else:
        count = len(pixels.bands)
        picked = [count - 1, count // 2, 0]
        bands, words = (
            [pixels.values[i] for i in picked],
            "bands " + ", ".join(pixels.bands[i].name for i in picked),
        )
    image = np.full((*pixels.valid.shape, 3), _NO_DATA, np.uint8)
    for channel, band in enumerate(bands):
        inside = band[pixels.valid]
        low, high = np.percentile(inside, (2, 98)) if inside.size else (0.0, 1.0)
        stretched = np.clip((band - low) / max(high - low, 1e-6), 0, 1)
        image[..., channel][pixels.valid] = np.rint(255 * stretched[pixels.valid])
    return image, words


def overlay(
    image: NDArray[np.uint8], values: NDArray[np.uint8], colours: Sequence[str]
) -> NDArray[np.uint8]:
    """Lay masks 1..n of ``values`` (h, w) over an image (h, w, 3) in their colours, each with an outline."""
    over = image.astype(np.float32)
    for number, colour in enumerate(colours, start=1):
        inside = values == number
        tint = np.array(_rgb(colour), np.float32)
        over[inside] = 0.55 * over[inside] + 0.45 * tint
        # A light outline would vanish on bright ground (clouds are white).
        over[inside & _edge(inside)] = tint if tint.mean() < 215 else _INK
    return np.rint(over).astype(np.uint8)


def draw(
    pixels: Pixels,
    values: NDArray[np.uint8],
    legend: Sequence[tuple[str, str]],
    query: str,
    path: Path,
) -> None:
    """Write the quicklook.

    Args:
        pixels: overview of the scene.
        values: the mask raster at the overview's size, ``(h, w)``.
        legend: colour (``#rrggbb``) and words of the masks 1..n.
    """
    image, words = rgb_image(pixels)
    height, width = image.shape[:2]
    scale = PANEL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    plain = Image.fromarray(image).resize(size, smooth)
    enlarged = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
    over = overlay(np.asarray(plain), enlarged, [colour for colour, _ in legend])
    wide = size[0] > 1.3 * size[1]
    small, large = ImageFont.load_default(17), ImageFont.load_default(21)
    columns, rows = (1, 2) if wide else (2, 1)
    canvas_width = columns * size[0] + (columns + 1) * _MARGIN
    title = _shortened(query, large, canvas_width - 2 * _MARGIN)
    top = 3 * _MARGIN + 8
    below = top + rows * (size[1] + _MARGIN)
    canvas = Image.new("RGB", (canvas_width, below + 28 * (len(legend) or 1) + 30 + _MARGIN), _BACK)
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN, _MARGIN), title, fill=_INK, font=large)
    for place, panel in enumerate((plain, Image.fromarray(over))):
        column, row = (0, place) if wide else (place, 0)
        canvas.paste(
            panel, (_MARGIN + column * (size[0] + _MARGIN), top + row * (size[1] + _MARGIN))
        )
    for place, (colour, text) in enumerate(legend):
        y = below + 28 * place
        pen.rectangle((_MARGIN, y, _MARGIN + 26, y + 18), fill=_rgb(colour), outline=_INK)
        # The built-in font has no superscript two.
        pen.text(
            (_MARGIN + 38, y - 1),
            _shortened(text.replace("²", "2"), small, canvas_width - 3 * _MARGIN - 38),
            fill=_INK,
            font=small,
        )
    if not legend:
        pen.text((_MARGIN, below), "no mask", fill=_INK, font=small)
    note = f"{words}, stretched 2-98 %; grey: no data"
    pen.text((_MARGIN, below + 28 * (len(legend) or 1) + 6), note, fill=(110, 110, 110), font=small)
    canvas.save(path, optimize=True)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
