"""A predictor whose masks are known: what the engine does to them can be checked to the pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from spex.query.answer_markup import Answer, parse_answer
from spex.query.prompt import Exchange
from spex.query.reading import Reading, RequestedMask, Understood
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
    """The probability of a class is the value of one band."""

    name, sha256 = "painter", "0" * 64

    def __init__(self) -> None:
        self.calls = {"features": 0, "decode": 0}
        self.decoded: list[str] = []

    def open(self, overview, evidence):
        return self

    def features(self, pixels):
        self.calls["features"] += 1
        return pixels.values.copy()

    def decode(self, features, class_names, pixels):
        self.calls["decode"] += 1
        self.decoded += class_names
        return np.stack([features[MAPS[name]] for name in class_names])


def reading_of(answer: Answer) -> Reading:
    """A reading that is answered with spans of these classes and constraints."""
    masks = [
        RequestedMask(
            span.class_name,
            span.phrase,
            span.constraints,
            (Understood(f"class={span.class_name}", span.phrase),),
        )
        for span in answer.spans
    ]
    return Reading("en", masks=tuple(masks))


@pytest.fixture
def answer_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has every query answered with one text in span markup."""

    def answer(text: str) -> None:
        reading = reading_of(parse_answer(text))

        def read(query: str, history: Sequence[Exchange]) -> Reading:
            return reading

        monkeypatch.setattr("spex.engine.session.read_request", read)
        monkeypatch.setattr("spex.engine.session.answer_for", lambda *arguments: text)

    return answer


@pytest.fixture
def painter(answer_with: Callable[[str], None]) -> type[Painter]:
    """A predictor; made with a text in span markup, it has every query answered with that text."""

    class Answering(Painter):
        def __init__(self, text: str | None = None) -> None:
            super().__init__()
            if text is not None:
                answer_with(text)

    return Answering


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
