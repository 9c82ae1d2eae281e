"""Pictures of pixels and masks: colour composites with a robust stretch, and masks over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spex.evidence.indices import role_planes
from spex.raster.scene import Pixels

STRETCH = "contrast stretched per band; grey: no data"
NO_DATA_GREY = (225, 225, 225)
_DARK = (25, 25, 25)
_LIGHT = (255, 255, 255)
_BRIGHT = 150  # mean of a colour from which it counts as light
_TINT = 0.4  # opacity of a mask

_LIMITS = (0.5, 99.0)  # percentiles of a band between which it is stretched
_FLOOR = (
    0.04  # the lower limit is drawn this far above black, so that dark fields keep their detail
)
_SHADE = 0.3  # brightness that the darkest quarter of the picture is lifted to
_GAMMA = (0.6, 0.9)  # strongest and weakest lift


def rgb_image(pixels: Pixels) -> tuple[NDArray[np.uint8], str]:
    """True colour, else colour infrared, else three bands across the spectrum.

    Returns:
        Image ``(h, w, 3)``, and what its colours are.
    """
    bands, words = _display_bands(pixels)
    image = np.full((*pixels.valid.shape, 3), NO_DATA_GREY, np.uint8)
    if pixels.valid.any():
        values = np.stack([band[pixels.valid] for band in bands])
        image[pixels.valid] = np.rint(255 * _stretched(values)).T
    return image, words


def _display_bands(pixels: Pixels) -> tuple[list[NDArray[np.float32]], str]:
    planes = role_planes(pixels)
    for roles, words in (("RGB", "true colour"), ("NRG", "colour infrared")):
        if set(roles) <= planes.keys():
            return [planes[role] for role in roles], words
    count = len(pixels.bands)
    positions = [count - 1, count // 2, 0]
    names = ", ".join(pixels.bands[position].name for position in positions)
    return [pixels.values[position] for position in positions], f"bands {names}"


def _stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values 0-1 for display.

    Limits come from pixels that are neither saturated nor far brighter than the rest, and one
    gamma for all bands lifts the shades: a few clouds do not turn the land below them black.

    Args:
        values: valid pixels of the three bands, ``(3, pixels)``.
    """
    typical = (values < values.max(axis=1, keepdims=True)).all(axis=0)
    if not typical.any():
        typical[:] = True
    brightness = values.mean(axis=0)
    lower, upper = np.percentile(brightness[typical], (25, 75))
    typical &= brightness <= upper + 3 * (upper - lower)
    low, high = np.percentile(values[:, typical], _LIMITS, axis=1)[..., None]
    low = low - _FLOOR * (high - low)
    stretched = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1).astype(np.float32)
    shade = np.percentile(stretched[:, typical].mean(axis=0), 25)
    gamma = np.clip(np.log(_SHADE) / np.log(np.clip(shade, 1e-3, 0.999)), *_GAMMA)
    return np.asarray(stretched**gamma, np.float32)


def overlay(
    image: NDArray[np.uint8],
    values: NDArray[np.uint8],
    colours: Sequence[str],
    *,
    line: int = 1,
    casing: int = 0,
) -> NDArray[np.uint8]:
    """Lay masks over an image, each tinted and outlined in its colour.

    Args:
        image: ``(h, w, 3)``.
        values: the mask raster ``(h, w)``, masks 1..n.
        colours: of each mask, ``#rrggbb``.
        line: width of the outline inside a mask, pixels.
        casing: width of a contrasting line around a mask, pixels. With one, the outline shows on
            any ground; it is drawn only where no other mask is.
    """
    drawn = image.astype(np.float32)
    for number, colour in enumerate(colours, start=1):
        inside = values == number
        drawn[(values == 0) & outer_edge(inside, casing)] = casing_colour(colour)
    for number, colour in enumerate(colours, start=1):
        inside = values == number
        tint = np.array(rgb(colour), np.float32)
        drawn[inside] = (1 - _TINT) * drawn[inside] + _TINT * tint
        # Without a casing, a light outline would vanish on bright ground (clouds are white).
        light = not casing and tint.mean() >= 215
        drawn[inner_edge(inside, line)] = _DARK if light else tint
    return np.rint(drawn).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue 0-255 of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue


def casing_colour(colour: str) -> tuple[int, int, int]:
    """White around a dark colour, nearly black around a light one."""
    return _DARK if sum(rgb(colour)) / 3 >= _BRIGHT else _LIGHT


def inner_edge(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a mask ``(h, w)`` up to ``width`` pixels from its border, image edges aside."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def outer_edge(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels outside a mask ``(h, w)`` up to ``width`` pixels from its border."""
    return inner_edge(~mask, width)
