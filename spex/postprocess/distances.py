"""Pixels within a distance of a mask that arrives in strips, exactly and with bounded memory.

Distances run on the ground between the centres of pixels: north to south over the heights of the
rows between them, east to west in widths of the pixel's own row. Where the width of a pixel changes
with latitude, a distance of 1 km at 60 degrees is off by up to 0.02 %, one of 10 km by up to 0.2 %.

A distance splits into its two directions. The nearest pixel of the mask within the same column lies
in the strip or beyond its edge, so one sweep notes for every strip where the mask is next above and
below it, in a temporary file. Within a row, the pixels that a column reaches are an interval, and
their union is the answer. No strip needs the pixels of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

ROUNDING = 1e-9
"""Relative difference up to which sizes and distances count as equal."""
DISTANCE_PLANES = 4
"""float32 planes that are held of a strip."""
_FARTHEST_M = 1e8  # more than around the Earth
_VALUE = np.dtype(np.float64)


class MaskDistances:
    """How far the pixels of each strip lie from one mask.

    Args:
        pixel_sizes: ground width and height of the pixels of each row in metres, ``(rows,)`` each.
        found: the mask ``(h, w)`` of a strip.
        strips: all strips, from the top down.
        store: an empty temporary file, open for writing and reading while distances are asked for.
    """

    def __init__(
        self,
        pixel_sizes: tuple[NDArray[np.float64], NDArray[np.float64]],
        found: Callable[[Window], NDArray[np.bool_]],
        strips: Sequence[Window],
        store: IO[bytes],
    ) -> None:
        self._widths, heights = pixel_sizes
        self._centres = np.cumsum(heights) - heights / 2
        self._numbers: dict[int, int] = {}
        self._columns = 0
        # Two rows a strip: how far down the mask is next above it, and next below it.
        self._next = store
        above = None
        for number, window in enumerate(strips):
            self._numbers[int(window.row_off)] = number
            mask = found(window)
            if above is None:
                self._columns = mask.shape[1]
                above = np.full(self._columns, -np.inf)
            first = np.full(self._columns, np.inf)
            self._next.write(above.tobytes())
            for row in range(len(mask)):
                centre = self._centres[int(window.row_off) + row]
                above[mask[row]] = centre
                np.minimum(first, centre, out=first, where=mask[row])
            self._next.write(first.tobytes())
        below = np.full(self._columns, np.inf)
        for number in reversed(range(len(self._numbers))):
            first = self._stored(2 * number + 1)
            self._next.seek(self._offset(2 * number + 1))
            self._next.write(below.tobytes())
            below = np.minimum(below, first)

    def _offset(self, row: int) -> int:
        return row * self._columns * _VALUE.itemsize

    def _stored(self, row: int) -> NDArray[np.float64]:
        self._next.seek(self._offset(row))
        return np.frombuffer(self._next.read(self._columns * _VALUE.itemsize), _VALUE)

    def column_distances(self, window: Window, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Metres to the nearest pixel of the mask in the same column, ``(h, w)``; inf without one.

        Args:
            window: one of the strips.
            mask: in this strip, ``(h, w)``.
        """
        number = self._numbers[int(window.row_off)]
        above = self._stored(2 * number).copy()
        below = self._stored(2 * number + 1).copy()
        centres = self._centres[int(window.row_off) :]
        metres = np.empty(mask.shape)
        for row in range(len(mask)):
            above[mask[row]] = centres[row]
            np.subtract(centres[row], above, out=metres[row])
        for row in reversed(range(len(mask))):
            below[mask[row]] = centres[row]
            np.minimum(metres[row], below - centres[row], out=metres[row])
        return metres

    def within(
        self, window: Window, column_distances: NDArray[np.float64], metres: float
    ) -> NDArray[np.bool_]:
        """Pixels ``(h, w)`` of a strip at most so many metres from the mask.

        Args:
            window: the strip.
            column_distances: of the strip.
            metres: the distance.
        """
        limit = min(metres, _FARTHEST_M) * (1 + ROUNDING)
        width = column_distances.shape[1]
        near = np.zeros(column_distances.shape, bool)
        for row, distances in enumerate(column_distances):
            columns = np.flatnonzero(distances <= limit)
            if not len(columns):
                continue
            across = np.sqrt(limit**2 - distances[columns] ** 2)
            steps = across / self._widths[int(window.row_off) + row]
            reach = np.minimum(steps, width).astype(np.int64)
            starts = np.bincount(np.maximum(columns - reach, 0), minlength=width)
            stops = np.bincount(np.minimum(columns + reach + 1, width), minlength=width)
            near[row] = np.cumsum(starts - stops[:width]) > 0
        return near
