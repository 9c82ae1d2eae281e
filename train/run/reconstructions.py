"""Reconstructions of a few fixed images as one picture: colours, what was visible, the spectrum of a hidden pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spex.evidence.indices import role_planes
from spex.model.reconstruct import MaskedAutoencoder
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from spex.records import load_pixels
from train.data.record_folder import RecordFolder
from train.data.spectral_views import MOST_BANDS, select_bands
from train.data.unlabelled import CELL

_EACH = 2  # multispectral images, and hyperspectral ones
PANEL = 224
"""Side of a panel, pixels."""
_GAP, _TITLE = 8, 44
_INK, _FAINT, _FOUND = (30, 30, 30), (170, 170, 170), (200, 60, 40)
_HIDDEN = 128
_COLOURS = {"true colour": "R G B", "S1, N, R": "S1 N R", "N, R, G": "N R G"}


@dataclass(frozen=True)
class Shown:
    """A square of an image that is drawn after every checkpoint, and where it comes from."""

    title: str
    pixels: Pixels


def shown_images(records: RecordFolder, size: int) -> list[Shown]:
    """Squares from the middle of a few images, each of another source; validation places as far as there are any."""
    found: dict[str, Shown] = {}
    counts = {False: 0, True: 0}
    cubes = np.array(records.lengths("bands")) > MOST_BANDS
    splits, sources = records.column("split"), records.column("source")
    for number in sorted(range(len(records)), key=lambda i: splits[i] != "val"):
        if sources[number] in found or counts[bool(cubes[number])] == _EACH:
            continue
        record = records.record(number)
        square = _middle(load_pixels(record), size)
        if square.valid.mean() > 0.9:
            place = "validation place" if record.split == "val" else "training image"
            found[record.source] = Shown(
                f"{record.source}, {record.sensor}, {place}: {record.id}", square
            )
            counts[bool(cubes[number])] += 1
    return list(found.values())


def _middle(pixels: Pixels, size: int) -> Pixels:
    """The square in the middle, of whole cells, four at least; a smaller image is padded with invalid pixels."""
    size = max(2 * CELL, min(size, *(n // CELL * CELL for n in pixels.valid.shape)))
    window = tuple(
        slice(start, start + size) for start in (max(n - size, 0) // 2 for n in pixels.valid.shape)
    )
    valid, values = pixels.valid[window], pixels.values[(slice(None), *window)]
    pad = tuple((0, size - n) for n in valid.shape)
    return replace(pixels, values=np.pad(values, ((0, 0), *pad)), valid=np.pad(valid, pad))


@torch.no_grad()
def reconstruct(
    model: MaskedAutoencoder, pixels: Pixels, hidden: float
) -> tuple[Pixels, NDArray[np.bool_], NDArray[np.int_]]:
    """All bands of an image from its visible cells, of a hyperspectral one from ``MOST_BANDS`` bands.

    Returns:
        the reconstruction, which pixels were visible (h, w), and which bands were given.
    """
    cells = tuple(n // CELL for n in pixels.valid.shape)
    visible = np.ones(cells, bool)
    visible.flat[
        np.random.default_rng(0).permutation(visible.size)[: round(hidden * visible.size)]
    ] = False
    shown = np.kron(visible, np.ones((CELL, CELL), bool))
    count = len(pixels.bands)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_BANDS)).round().astype(int))
    given = select_bands(pixels, chosen)
    found = model.eval()(
        [torch.from_numpy(given.values)],
        [torch.from_numpy(given.valid)],
        band_batch([given], [shown]),
        torch.from_numpy(visible[None]),
        band_batch([pixels]),
    )
    return replace(pixels, values=0.2 * found[0].numpy() + 0.2), shown, chosen


def draw(model: MaskedAutoencoder, images: list[Shown], hidden: float, path: Path) -> None:
    """Write the picture: one row per image."""
    write_sheet([(image.title, list(_row(model, image.pixels, hidden))) for image in images], path)


def write_sheet(rows: list[tuple[str, list[tuple[str, Image.Image]]]], path: Path) -> None:
    """Write rows of panels of side ``PANEL``, a title above each row and words above each panel."""
    most = max(len(panels) for _, panels in rows)
    size = (most * (PANEL + _GAP) + _GAP, len(rows) * (PANEL + _TITLE + _GAP) + _GAP)
    canvas, font = Image.new("RGB", size, "white"), ImageFont.load_default(13)
    pen = ImageDraw.Draw(canvas)
    for i, (title, panels) in enumerate(rows):
        top = _GAP + i * (PANEL + _TITLE + _GAP)
        pen.text((_GAP, top), title, fill=_INK, font=font)
        for j, (words, panel) in enumerate(panels):
            left = _GAP + j * (PANEL + _GAP)
            pen.text((left, top + 20), words, fill=_INK, font=font)
            canvas.paste(panel, (left, top + _TITLE))
    canvas.save(path, optimize=True)


def _row(
    model: MaskedAutoencoder, pixels: Pixels, hidden: float
) -> Iterator[tuple[str, Image.Image]]:
    found, shown, given = reconstruct(model, pixels, hidden)
    middles = CELL // 2 + CELL * np.argwhere(~shown[::CELL, ::CELL])
    spot = next(
        (tuple(spot) for spot in middles[len(middles) // 2 :] if pixels.valid[tuple(spot)]), (0, 0)
    )
    for i, ((words, target), (_, mine)) in enumerate(
        zip(_composites(pixels), _composites(found), strict=True)
    ):
        inside = target[:, pixels.valid]
        low, high = np.percentile(inside, (2, 98), axis=1)[..., None, None]
        target, mine = (
            255 * np.clip((x - low) / np.maximum(high - low, 1e-6), 0, 1) for x in (target, mine)
        )
        yield words, _panel(target, spot)
        if i == 0:
            count = f"{len(given)} of {len(pixels.bands)} bands"
            yield f"visible, {count}", _panel(np.where(shown, target, _HIDDEN), spot)
        yield "reconstruction", _panel(mine, spot)
    yield "hidden pixel: target, reconstruction", _spectrum(pixels, found, given, spot)


def _composites(pixels: Pixels) -> list[tuple[str, NDArray[np.float32]]]:
    """What the image looks like in true and in false colours, (3, h, w), as far as its bands allow."""
    planes = role_planes(pixels)
    found = [
        (words, np.stack([planes[role] for role in roles.split()]))
        for words, roles in _COLOURS.items()
        if set(roles.split()) <= planes.keys()
    ]
    last = len(pixels.bands) - 1
    return found[:2] or [("bands across the spectrum", pixels.values[[last, last // 2, 0]])]


def _panel(image: NDArray[np.float32], spot: tuple[int, ...]) -> Image.Image:
    """An image (3, h, w) of 0 to 255, enlarged, with a ring around a pixel."""
    panel = Image.fromarray(np.rint(image).astype(np.uint8).transpose(1, 2, 0)).resize(
        (PANEL, PANEL), 0
    )
    scale = PANEL / image.shape[-1]
    y, x = ((n + 0.5) * scale for n in spot)
    ImageDraw.Draw(panel).ellipse((x - 5, y - 5, x + 5, y + 5), outline="yellow", width=2)
    return panel


def _spectrum(
    pixels: Pixels, found: Pixels, given: NDArray[np.int_], spot: tuple[int, ...]
) -> Image.Image:
    """Reflectance of a pixel over wavelength: target dark, reconstruction red, bands given as ticks."""
    panel = Image.new("RGB", (PANEL, PANEL), "white")
    pen, font = ImageDraw.Draw(panel), ImageFont.load_default(11)
    centre = np.array([b.wavelength_nm or np.nan for b in pixels.bands])
    order = np.argsort(centre)[: int(np.isfinite(centre).sum())]
    if not len(order):
        return panel
    curves = [one.values[(order, *spot)] for one in (pixels, found)]
    left, right = centre[order][[0, -1]]
    top = max(1.1 * max(curve.max() for curve in curves), 1e-3)

    def at(wavelength: float, value: float) -> tuple[float, float]:
        x = (wavelength - left) / max(right - left, 1.0)
        return 8 + x * (PANEL - 16), PANEL - 20 - max(value, 0.0) / top * (PANEL - 40)

    pen.rectangle((0, 0, PANEL - 1, PANEL - 1), outline=_FAINT)
    for wavelength in centre[given][np.isfinite(centre[given])]:
        x, y = at(wavelength, 0)
        pen.line((x, y, x, y - 5), fill=_FAINT)
    for curve, colour in zip(curves, (_INK, _FOUND), strict=True):
        points = [at(w, v) for w, v in zip(centre[order], curve, strict=True)]
        pen.line(points, fill=colour, width=2)
        if len(points) <= MOST_BANDS:
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    pen.text((4, 2), f"{top:.2f}", fill=_INK, font=font)
    pen.text((8, PANEL - 16), f"{left:.0f} nm", fill=_INK, font=font)
    pen.text((PANEL - 50, PANEL - 16), f"{right:.0f} nm", fill=_INK, font=font)
    return panel
