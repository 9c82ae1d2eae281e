"""Random square windows of images, padded where an image is smaller."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def random_window(rng: Generator, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
    """A random square window of an image; of a smaller image, all of it.

    Args:
        rng: Source of randomness.
        shape: Height and width of the image.
        size: Side of the window in pixels.
    """
    row = int(rng.integers(0, max(shape[0] - size, 0) + 1))
    col = int(rng.integers(0, max(shape[1] - size, 0) + 1))
    return slice(row, row + size), slice(col, col + size)


def cut_square(
    array: NDArray[Scalar], window: tuple[slice, slice], size: int, fill: int = 0
) -> NDArray[Scalar]:
    """Cut a window from an array (..., h, w) and pad it to a square.

    Args:
        array: Where to cut.
        window: Rows and columns.
        size: Side of the square in pixels.
        fill: Value of the padding.
    """
    square = array[(..., *window)]
    height, width = square.shape[-2:]
    if (height, width) == (size, size):
        return square
    leading = ((0, 0),) * (array.ndim - 2)
    padding = (*leading, (0, size - height), (0, size - width))
    return np.pad(square, padding, constant_values=fill)
