"""A predictor whose masks are known: what the engine does to them can be checked to the pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from spex.engine import Plan
from spex.query.answer_markup import other_classes, parse_answer
from spex.raster.scene import Scene
from spex.sensors import Band

BANDS = (
    Band("B02", 490, 65),
    Band("B03", 560, 35),
    Band("B04", 665, 30),
    Band("B08", 842, 115),
    Band("B11", 1610, 90),
)
MAPS = {"water": 0, "vegetation": 1, "tree_cover": 2, "cropland": 3, "building": 4}


class Painter:
    """Answers every query with one text; the probability of a class is the value of one band."""

    name, sha256 = "painter", "0" * 64

    def __init__(self, text: str) -> None:
        self.answer = parse_answer(text)
        self.calls = {"plan": 0, "features": 0, "decode": 0}

    def open(self, overview, evidence):
        return self

    def plan(self, query, history=()):
        self.calls["plan"] += 1
        return Plan(self.answer)

    def features(self, pixels):
        self.calls["features"] += 1
        return pixels.values.copy()

    def decode(self, features, plan, pixels):
        self.calls["decode"] += 1
        names = [span.class_name for span in plan.answer.spans] + list(other_classes(plan.answer))
        return np.stack([features[MAPS[name]] for name in names])


@pytest.fixture
def painter() -> type[Painter]:
    return Painter


@pytest.fixture
def painted() -> Callable[..., Scene]:
    """A 10 m scene whose bands are the probabilities of the classes in ``MAPS``, else 0.05."""

    def make(shape=(100, 120), crs=32633, valid=None, transform=None, gsd_m=None, **maps):
        values = np.full((len(BANDS), *shape), 0.05, np.float32)
        for name, probability in maps.items():
            values[MAPS[name]] = probability
        return Scene.from_array(
            values,
            BANDS,
            valid=valid,
            crs=None if crs is None else CRS.from_epsg(crs),
            transform=transform or (from_origin(500_000, 5_300_000, 10, 10) if crs else None),
            gsd_m=gsd_m,
        )

    return make
