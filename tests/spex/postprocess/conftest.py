"""A scene with painted probabilities, and whole-array sums on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from scipy import ndimage

from spex.evidence.scene_evidence import measure
from spex.postprocess import composition
from spex.postprocess.constraint_masks import Frame, check
from spex.query.answer_markup import Answer, other_classes, parse_answer
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE, working_profile
from spex.sensors import Band

SHAPE = (61, 50)
WIDTH, HEIGHT = 10.0, 15.0  # metres: pixels need not be square
CLASSES = ("water", "vegetation", "tree_cover", "road", "burned")  # nothing is burned
BANDS = (
    Band("R", 665, 30),
    Band("N", 842, 100),
    Band("B", 490, 60),
    Band("G", 560, 40),
    Band("S1", 1610, 90),
    Band("S2", 2200, 150),
)


class Painted:
    """A scene with known probabilities of ``CLASSES``, no data in the five left columns."""

    def __init__(self, seed: int, **place: Any) -> None:
        rng = np.random.default_rng(seed)

        def smooth(width: float) -> NDArray[np.float64]:
            field = ndimage.gaussian_filter(rng.normal(size=SHAPE), width)
            return np.asarray(field / field.std())

        red, near_infrared = 0.1 + 0.02 * smooth(2), 0.3 + 0.05 * smooth(2)
        self.ndvi = (near_infrared - red) / (near_infrared + red)
        others = [np.full(SHAPE, value) for value in (0.05, 0.08, 0.2, 0.1)]
        values = np.stack([red, near_infrared, *others]).astype(np.float32)
        self.valid = np.ones(SHAPE, bool)
        self.valid[:, :5] = False
        self.valid[20, 30] = False
        place = place or {
            "crs": CRS.from_epsg(32633),
            "transform": Affine(WIDTH, 0, 5e5, 0, -HEIGHT, 53e5),
        }
        self.scene = Scene.from_array(values, BANDS, valid=self.valid, **place)
        overview = self.scene.overview(1024)
        self.evidence = measure(overview)
        self.frame = Frame.of(self.scene, overview)
        self.masks = {name: smooth(2) > 0.5 for name in CLASSES}
        self.masks["vegetation"] |= self.masks["tree_cover"]
        self.masks["road"] = (smooth(3) > 1.2) & self.valid
        self.masks["burned"] = np.zeros(SHAPE, bool)
        self.masks["any"] = np.ones(SHAPE, bool)

    def levels(self, answer: Answer) -> NDArray[np.uint8]:
        names = [*(span.class_name for span in answer.spans), *other_classes(answer)]
        levels = np.stack([self.masks[name] for name in names]) * np.uint8(PROBABILITY_SCALE)
        return np.where(self.valid, levels, NODATA).astype(np.uint8)

    def write_probability(self, answer: Answer, folder: Path) -> list[bool]:
        """Write the probabilities; tells which bands have a likely pixel."""
        levels = self.levels(answer)
        with rasterio.open(
            folder / "probability.tif", "w", **working_profile(self.scene, len(levels))
        ) as raster:
            raster.write(levels)
        return [bool((band == PROBABILITY_SCALE).any()) for band in levels]

    def executed(self, text: str, folder: Path) -> NDArray[np.uint8]:
        answer = parse_answer(text)
        check(answer, self.scene, self.evidence)
        self.write_probability(answer, folder)
        composition.write_mask(self.frame, answer, folder / "probability.tif", folder / "mask.tif")
        with rasterio.open(folder / "mask.tif") as raster:
            values: NDArray[np.uint8] = raster.read(1)
        assert ((values == NODATA) == ~self.valid).all()
        assert sorted(path.name for path in folder.iterdir()) == ["mask.tif", "probability.tif"]
        return values

    def distance(self, name: str) -> NDArray[np.float64]:
        """Metres from a class's mask, on the whole array."""
        mask = self.masks[name] & self.valid
        if not mask.any():
            return np.full(SHAPE, np.inf)
        return np.asarray(ndimage.distance_transform_edt(~mask, sampling=(HEIGHT, WIDTH)))


@pytest.fixture
def paint() -> type[Painted]:
    return Painted
