"""What a session does with a reading: extractions, replies, refusals, maps of the whole scene."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from instruction_data.requests import corpus
from instruction_data.requests.corpus import read_requests
from spex.engine import Session, extract, load
from spex.errors import QueryError
from spex.query.constraints import Constraints
from spex.query.reading import Reading, Remark, RequestedMask, Understood
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA
from spex.sensors import get_sensor

WATER = RequestedMask(
    "water",
    "lakes",
    Constraints(min_area=(1, "ha")),
    (Understood("class=water", "lakes"), Understood("min_area=1ha", "larger than 1 ha")),
)
SENSORS = (
    "sentinel-2a", "landsat-8", "landsat-7", "landsat-5", "planetscope-4", "worldview-2",
    "naip", "planetscope-8", "hls-l30", "hls7", "spot-6", "pleiades",
)  # fmt: skip


@pytest.fixture
def read_as(monkeypatch):
    """Has every request understood in one way."""

    def make(reading: Reading) -> None:
        monkeypatch.setattr("spex.engine.session.read_request", lambda query, history: reading)

    return make


@pytest.fixture
def land(painted):
    """Water and vegetation on bright ground, and nothing else."""
    planes = {name: np.full((100, 120), 0.1, np.float32) for name in ("water", "vegetation")}
    planes["water"][10:30, 10:30] = 0.9
    planes["vegetation"][50:70, 40:80] = 0.8
    planes["vegetation"][10:30, 20:40] = 0.7
    return painted(**planes)


def test_the_result_says_what_was_understood_and_what_was_not(painter, land, read_as, tmp_path):
    read_as(Reading("en", masks=(WATER,), ignored=("romantic",)))
    result = extract(land, "romantic lakes larger than 1 ha", painter())
    first, second, *_ = result.answer.splitlines()
    assert "romantic" in first and "1 ha" in second
    document = json.loads((result.save(tmp_path / "out") / "extraction.json").read_text())
    assert document["language"] == "en"
    assert document["ignored"] == ["romantic"]
    assert document["masks"][0]["understood"] == [
        {"what": "class=water", "words": "lakes"},
        {"what": "min_area=1ha", "words": "larger than 1 ha"},
    ]


def test_understood_goes_with_its_mask_where_another_is_empty(painter, land, read_as):
    road = RequestedMask("building", "huts", understood=(Understood("class=building", "huts"),))
    read_as(Reading("en", masks=(road, WATER)))
    (mask,) = extract(land, "huts and lakes", painter()).to_dict()["masks"]
    assert mask["value"] == 1 and mask["understood"][0]["words"] == "lakes"


def test_assumptions_are_said(painter, land, read_as):
    read_as(Reading("en", masks=(WATER,), remarks=(Remark("typo", "laeks", "lakes"),)))
    assert "laeks" in extract(land, "laeks", painter()).answer


def test_a_reply_runs_nothing(painter, land, read_as):
    read_as(Reading("en", reply="greeting"))
    predictor = painter()
    result = extract(land, "hello", predictor)
    assert result.answer and predictor.calls["features"] == 0 and result.mask_path is None
    document = result.to_dict()
    assert (document["refused"], document["masks"], document["answer"]) == (None, [], result.answer)


def test_a_refusal_runs_nothing_and_speaks_the_language_of_the_request(painter, land, read_as):
    predictor = painter()
    sentences = []
    for language in ("en", "de"):
        read_as(Reading(language, refusal=("single_objects", "Autos")))
        result = extract(land, "Autos", predictor)
        assert result.refused == result.answer and "Autos" in result.answer
        sentences.append(result.answer)
    assert sentences[0] != sentences[1] and predictor.calls["features"] == 0


def test_a_whole_scene_is_an_exclusive_map_with_its_rest(land, read_as, tmp_path):
    class Land:
        name, sha256 = "land", None

        def open(self, overview, evidence):
            return self

        def features(self, pixels):
            return pixels.values.copy()

        def decode(self, features, class_names, pixels):
            rows = {"water": features[0], "vegetation": features[1]}
            return np.stack([rows.get(name, np.zeros_like(features[0])) for name in class_names])

    read_as(Reading("en", whole_scene=True, ignored=("quickly",)))
    result = extract(land, "what is here, quickly?", Land())
    document = result.to_dict()
    shares = {mask["class"]: mask["pixels"] for mask in document["masks"]}
    assert shares == {"water": 400, "vegetation": 800 + 200}  # the higher probability wins
    assert document["unknown_fraction"] == pytest.approx(1 - 1400 / 12_000)
    lines = result.answer.splitlines()
    assert "quickly" in lines[0]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3 and "88.3 %" in table[-1]
    reasons = {absence["class"]: absence["reason"] for absence in document["absent"]}
    assert {"bare", "snow_ice"} <= set(reasons)
    assert set(shares) | set(reasons) >= {"burned", "cloud", "built_up"}
    result.save(tmp_path / "out")  # the audit measures the rest again
    with rasterio.open(tmp_path / "out" / "mask.tif") as source:
        assert (source.read(1) != NODATA).all()


def test_a_whole_scene_of_one_band_is_refused_with_the_reasons(painter, painted, read_as):
    read_as(Reading("en", whole_scene=True))
    scene = painted()
    predictor = painter()
    result = extract(Scene.from_array(scene.read().values[:1], scene.bands[:1]), "map", predictor)
    assert result.refused and "water" in result.refused.lower()
    assert predictor.calls["features"] == 0


def small_scene(sensor: str, seed: int, noise: bool) -> Scene:
    """48 x 48 pixels of a sensor: three covers, or noise alone."""
    rng = np.random.default_rng(seed)
    bands = get_sensor(sensor).bands
    values = rng.uniform(0.02, 0.5, (len(bands), 48, 48))
    if not noise:
        near_infrared = [(band.wavelength_nm or 0) > 750 for band in bands]
        covers = np.where(near_infrared, [[0.02], [0.45], [0.25]], [[0.05], [0.05], [0.2]])
        kinds = np.kron(rng.integers(0, 3, (6, 6)), np.ones((8, 8), int))
        values = covers[kinds].transpose(2, 0, 1) + rng.normal(0, 0.004, values.shape)
    place = {"crs": CRS.from_epsg(32633), "transform": from_origin(5e5, 53e5, 10, 10)}
    return Scene.from_array(values.astype(np.float32), bands, **place)


def check_one_reading_each(requests: list[str], sensors: tuple[str, ...]) -> None:
    readings: dict[str, set[Reading]] = {request: set() for request in requests}
    scenes = [small_scene(sensor, number, noise=False) for number, sensor in enumerate(sensors)]
    scenes.append(small_scene(sensors[0], 99, noise=True))
    for scene in scenes:
        with Session(scene, load("rules").predictor) as session:
            for request in requests:
                with suppress(QueryError):  # these bands do not give an index of the request
                    readings[request].add(session.ask(request).reading)
    several = [request for request, found in readings.items() if len(found) > 1]
    assert several == []


@pytest.fixture(scope="module")
def requests() -> list[str]:
    """300 requests as people write them, spread over all batches."""
    folder = Path(corpus.__file__).parent
    written = [
        item.turns[-1]
        for batch in sorted(folder.glob("*.tsv"))
        for item in read_requests(batch)
        if len(item.turns) == 1
    ]
    numbers = np.linspace(0, len(written) - 1, 300).round().astype(int)
    return [written[number] for number in numbers]


def test_a_request_is_read_alike_on_every_scene(requests: list[str]) -> None:
    check_one_reading_each(requests[::30], SENSORS[::3])


@pytest.mark.slow
def test_300_requests_are_read_alike_on_12_scenes_and_noise(requests: list[str]) -> None:
    check_one_reading_each(requests, SENSORS)
