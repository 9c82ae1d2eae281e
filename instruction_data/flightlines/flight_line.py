"""An open flight line, and the rules that cut it into tiles.

The rules are those of Hyper-400K (Ji et al., arXiv 2510.27219). Tiles form a grid from the top
left; the last ones are padded. A pixel with a band above the ceiling is invalid; so is a value
that is negative, not finite or fill. Invalid values become 0. A tile with more than a fifth of its
values invalid is dropped. Bands in water absorption are 0 in reflectance; here they are also
marked bad, and neither read nor counted. A pixel with no value above 0 has no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from instruction_data.flightlines.products import FlightLineProduct
from spex.errors import SceneError
from spex.sensors import Band

MAX_INVALID = 0.2
CAUSES = ("beyond the edge", "no data", "above the ceiling", "negative")
"""Why values are invalid."""

_FILL = -9999
_RADIANCE_CEILINGS = {"aviris-c": 30.0, "aviris-ng": 100.0, "aviris-3": 100.0}
_REFLECTANCE_CEILING = 2.5


@dataclass(frozen=True)
class FlightLineTile:
    """One tile of a flight line.

    Attributes:
        row: first row in the flight line.
        col: first column in the flight line.
        values: (C, size, size) float32, 0 where invalid.
        valid: (size, size) valid pixels.
        invalid_shares: share of the values, 0-1, that each of ``CAUSES`` made invalid, among the
            bands that are not bad.
    """

    row: int
    col: int
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    invalid_shares: tuple[float, ...]

    @property
    def rejected(self) -> str | None:
        """The main cause of too many invalid values; None for a tile to keep."""
        if sum(self.invalid_shares) <= MAX_INVALID:
            return None
        return CAUSES[int(np.argmax(self.invalid_shares))]


@dataclass(frozen=True)
class FlightLine:
    """An open flight line; value = stored number x ``scale`` + ``offset``.

    Attributes:
        product: which file it is.
        dataset: the open raster.
        bands: the C bands.
        bad: numbers of the bands that are not used, from 1.
        scale: (C,) see above.
        offset: (C,) see above.
        gsd_m: pixel width in metres; None where the map units are not metres.
    """

    product: FlightLineProduct
    dataset: Any
    bands: tuple[Band, ...]
    bad: tuple[int, ...]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    gsd_m: float | None

    @property
    def georeferenced(self) -> bool:
        """Whether the file has a CRS and a transform."""
        return self.dataset.crs is not None and not self.dataset.transform.is_identity

    def tiles(self, size: int) -> Iterator[FlightLineTile]:
        """All tiles of the grid, row by row; one is in memory at a time.

        Args:
            size: rows and columns of a tile.

        Raises:
            SceneError: a part of the file is damaged.
        """
        numbers = [number for number in range(1, len(self.bands) + 1) if number not in self.bad]
        height, width = self.dataset.shape
        for row, col in product(range(0, height, size), range(0, width, size)):
            window = Window(col, row, min(size, width - col), min(size, height - row))
            try:
                stored = self.dataset.read(numbers, window=window)
            except RasterioError as error:
                raise SceneError(
                    f"{self.product.path} is damaged: the tile at row {row}, column {col} "
                    f"cannot be read ({error})"
                ) from error
            yield self._tile(stored, np.array(numbers) - 1, row, col, size)

    def _tile(
        self, stored: NDArray[Any], indexes: NDArray[np.int_], row: int, col: int, size: int
    ) -> FlightLineTile:
        """Apply the rules to the stored numbers of the bands with these ``indexes`` (from 0)."""
        missing = (stored == _FILL) | ~np.isfinite(stored)
        if self.dataset.nodata is not None:
            missing |= stored == self.dataset.nodata
        values = stored.astype(np.float32)
        values *= self.scale[indexes, None, None]
        values += self.offset[indexes, None, None]
        above_ceiling = ((values > _ceiling(self.product)) & ~missing).any(axis=0)
        negative = (values < 0) & ~missing
        values[missing | negative] = 0
        valid = (values > 0).any(axis=0) & ~above_ceiling
        values[:, ~valid] = 0
        _, height, width = values.shape
        empty_pixels = height * width - np.count_nonzero(valid | above_ceiling)
        invalid_pixels = (  # in the order of CAUSES; a value counts as a part of its pixel
            size * size - height * width,
            empty_pixels + np.count_nonzero(missing[:, valid]) / len(indexes),
            np.count_nonzero(above_ceiling),
            np.count_nonzero(negative[:, valid]) / len(indexes),
        )
        padded = np.zeros((len(self.bands), size, size), np.float32)
        padded[indexes, :height, :width] = values
        return FlightLineTile(
            row=row,
            col=col,
            values=padded,
            valid=np.pad(valid, ((0, size - height), (0, size - width))),
            invalid_shares=tuple(float(pixels) / size**2 for pixels in invalid_pixels),
        )


def _ceiling(product: FlightLineProduct) -> float:
    if product.level == "radiance":
        return _RADIANCE_CEILINGS[product.sensor]
    return _REFLECTANCE_CEILING
