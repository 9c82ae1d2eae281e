"""Reconstructions of a few fixed images as one picture.

Each row shows an image in true and false colour, what was visible of it, what the model made of
that, and the spectrum of a hidden pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from spex.results.picture_sheet import PANEL_SIDE, Panel, picture_sheet
from train.data.record_folder import RecordFolder
from train.data.spectral_views import MOST_BANDS, select_bands
from train.data.unlabelled import CELL

_IMAGES_OF_A_KIND = 2  # of multispectral images, and of hyperspectral ones
_LEAST_VALID = 0.9
_DARK = (30, 30, 30)
_FAINT = (170, 170, 170)
_RECONSTRUCTED = (200, 60, 40)
_HIDDEN = 128
_COMPOSITES = {"true colour": "R G B", "S1, N, R": "S1 N R", "N, R, G": "N R G"}


@dataclass(frozen=True)
class ExampleImage:
    """A square of an image that is drawn after every validation, and the title of its row."""

    title: str
    pixels: Pixels


@dataclass(frozen=True)
class Reconstruction:
    """What a model makes of the visible part of an image.

    Attributes:
        pixels: All bands, reconstructed.
        visible: (h, w), which pixels the model saw.
        bands_seen: Indexes of the bands that the model saw.
    """

    pixels: Pixels
    visible: NDArray[np.bool_]
    bands_seen: NDArray[np.int_]


def example_images(records: RecordFolder, size: int) -> list[ExampleImage]:
    """Squares from the middle of a few images, each of another source.

    Validation places come first.

    Args:
        records: Survey records.
        size: Side of a square at most, pixels.
    """
    examples: dict[str, ExampleImage] = {}
    counts = {False: 0, True: 0}
    hyperspectral = np.array(records.lengths("bands")) > MOST_BANDS
    splits = records.column("split")
    sources = records.column("source")
    for row in sorted(range(len(records)), key=lambda row: splits[row] != "val"):
        kind = bool(hyperspectral[row])
        if sources[row] in examples or counts[kind] == _IMAGES_OF_A_KIND:
            continue
        record = records.record(row)
        square = _middle_square(load_pixels(record), size)
        if square.valid.mean() > _LEAST_VALID:
            split = "validation place" if record.split == "val" else "training image"
            title = f"{record.source}, {record.sensor}, {split}: {record.id}"
            examples[record.source] = ExampleImage(title, square)
            counts[kind] += 1
    return list(examples.values())


def _middle_square(pixels: Pixels, size: int) -> Pixels:
    """The square in the middle, of whole cells, two a side at least.

    A smaller image is padded with invalid pixels.
    """
    shape = pixels.valid.shape
    whole_cells = [side // CELL * CELL for side in shape]
    size = max(2 * CELL, min(size, *whole_cells))
    starts = [max(side - size, 0) // 2 for side in shape]
    rows, cols = (slice(start, start + size) for start in starts)
    valid = pixels.valid[rows, cols]
    pad = tuple((0, size - side) for side in valid.shape)
    values = np.pad(pixels.values[:, rows, cols], ((0, 0), *pad))
    return replace(pixels, values=values, valid=np.pad(valid, pad))


@torch.no_grad()
def reconstruct(model: MaskedAutoencoder, pixels: Pixels, mask_ratio: float) -> Reconstruction:
    """Reconstruct all bands of an image from its visible cells.

    Of a hyperspectral image the model sees ``MOST_BANDS`` bands.

    Args:
        model: A model of stage pretrain.
        pixels: An image of whole cells.
        mask_ratio: Share of the cells that is hidden.
    """
    cell_shape = tuple(side // CELL for side in pixels.valid.shape)
    visible_cells = np.ones(cell_shape, bool)
    order = np.random.default_rng(0).permutation(visible_cells.size)
    visible_cells.flat[order[: round(mask_ratio * visible_cells.size)]] = False
    visible = np.kron(visible_cells, np.ones((CELL, CELL), bool))
    count = len(pixels.bands)
    spread = np.linspace(0, count - 1, min(count, MOST_BANDS))
    bands_seen = np.unique(spread.round().astype(int))
    seen = select_bands(pixels, bands_seen)
    (standardised,) = model.eval()(
        [torch.from_numpy(seen.values)],
        [torch.from_numpy(seen.valid)],
        band_batch([seen], [visible]),
        torch.from_numpy(visible_cells[None]),
        band_batch([pixels]),
    )
    reconstructed = replace(pixels, values=0.2 * standardised.numpy() + 0.2)
    return Reconstruction(reconstructed, visible, bands_seen)


def write_reconstructions(
    model: MaskedAutoencoder, images: Sequence[ExampleImage], mask_ratio: float, path: Path
) -> None:
    """Write a picture with one row per image.

    Args:
        model: A model of stage pretrain.
        images: What to reconstruct.
        mask_ratio: Share of each image that is hidden.
        path: The picture.
    """
    rows = []
    for image in images:
        reconstruction = reconstruct(model, image.pixels, mask_ratio)
        rows.append((image.title, list(_panels(image.pixels, reconstruction))))
    picture_sheet(rows).save(path, optimize=True)


def _panels(pixels: Pixels, reconstruction: Reconstruction) -> Iterator[Panel]:
    visible = reconstruction.visible
    spot = _hidden_pixel(pixels, visible)
    targets = _composites(pixels)
    reconstructed = dict(_composites(reconstruction.pixels))
    for number, (caption, target) in enumerate(targets):
        inside = target[:, pixels.valid]
        low, high = np.percentile(inside, (2, 98), axis=1)[..., None, None]
        stretched = _stretched(target, low, high)
        yield Panel(_with_ring(stretched, spot), caption)
        if number == 0:
            count = f"{len(reconstruction.bands_seen)} of {len(pixels.bands)} bands"
            shown = np.where(visible, stretched, _HIDDEN)
            yield Panel(_with_ring(shown, spot), f"visible, {count}")
        stretched = _stretched(reconstructed[caption], low, high)
        yield Panel(_with_ring(stretched, spot), "reconstruction")
    spectrum = _spectrum(pixels, reconstruction, spot)
    yield Panel(spectrum, "hidden pixel: target, reconstruction")


def _stretched(
    values: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values between two limits as 0 to 255."""
    stretched: NDArray[np.float64] = 255 * np.clip(
        (values - low) / np.maximum(high - low, 1e-6), 0, 1
    )
    return stretched


def _hidden_pixel(pixels: Pixels, visible: NDArray[np.bool_]) -> tuple[int, int]:
    """The middle of a hidden cell about halfway through the image whose pixel is valid."""
    centres = CELL // 2 + CELL * np.argwhere(~visible[::CELL, ::CELL])
    for row, col in centres[len(centres) // 2 :].tolist():
        if pixels.valid[row, col]:
            return row, col
    return 0, 0


def _composites(pixels: Pixels) -> list[tuple[str, NDArray[np.float32]]]:
    """Up to two colour composites (3, h, w) that the bands allow, with their captions."""
    planes = role_planes(pixels)
    composites = []
    for caption, roles in _COMPOSITES.items():
        if set(roles.split()) <= planes.keys():
            composites.append((caption, np.stack([planes[role] for role in roles.split()])))
    last = len(pixels.bands) - 1
    spread = [last, last // 2, 0]
    return composites[:2] or [("bands across the spectrum", pixels.values[spread])]


def _with_ring(image: NDArray[np.floating], spot: tuple[int, int]) -> NDArray[np.uint8]:
    """An image (3, h, w) of 0 to 255, enlarged to a panel, with a ring around a pixel."""
    colours = np.rint(image).astype(np.uint8).transpose(1, 2, 0)
    panel = Image.fromarray(colours).resize((PANEL_SIDE, PANEL_SIDE), Image.Resampling.NEAREST)
    scale = PANEL_SIDE / image.shape[-1]
    y, x = ((index + 0.5) * scale for index in spot)
    ImageDraw.Draw(panel).ellipse((x - 5, y - 5, x + 5, y + 5), outline="yellow", width=2)
    return np.asarray(panel)


def _spectrum(
    pixels: Pixels, reconstruction: Reconstruction, spot: tuple[int, int]
) -> NDArray[np.uint8]:
    """Spectrum of a pixel: target in dark, reconstruction in red, bands seen as ticks."""
    panel = Image.new("RGB", (PANEL_SIDE, PANEL_SIDE), "white")
    pen = ImageDraw.Draw(panel)
    font = ImageFont.load_default(11)
    wavelengths = np.array([band.wavelength_nm or np.nan for band in pixels.bands])
    order = np.argsort(wavelengths)[: int(np.isfinite(wavelengths).sum())]
    if not len(order):
        return np.asarray(panel)
    curves = [image.values[(order, *spot)] for image in (pixels, reconstruction.pixels)]
    left, right = wavelengths[order][[0, -1]]
    top = max(1.1 * max(curve.max() for curve in curves), 1e-3)

    def position(wavelength: float, reflectance: float) -> tuple[float, float]:
        x = (wavelength - left) / max(right - left, 1.0)
        y = max(reflectance, 0.0) / top
        return 8 + x * (PANEL_SIDE - 16), PANEL_SIDE - 20 - y * (PANEL_SIDE - 40)

    pen.rectangle((0, 0, PANEL_SIDE - 1, PANEL_SIDE - 1), outline=_FAINT)
    seen = wavelengths[reconstruction.bands_seen]
    for wavelength in seen[np.isfinite(seen)]:
        x, y = position(wavelength, 0)
        pen.line((x, y, x, y - 5), fill=_FAINT)
    for curve, colour in zip(curves, (_DARK, _RECONSTRUCTED), strict=True):
        points = [position(*point) for point in zip(wavelengths[order], curve, strict=True)]
        pen.line(points, fill=colour, width=2)
        if len(points) <= MOST_BANDS:
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    pen.text((4, 2), f"{top:.2f}", fill=_DARK, font=font)
    pen.text((8, PANEL_SIDE - 16), f"{left:.0f} nm", fill=_DARK, font=font)
    pen.text((PANEL_SIDE - 50, PANEL_SIDE - 16), f"{right:.0f} nm", fill=_DARK, font=font)
    return np.asarray(panel)
