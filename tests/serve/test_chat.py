"""One person's scene, questions and results, without the page."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from serve.chat import Chat, MethodName, mask_overview
from spex.engine.extractor import Extractor, load
from spex.engine.methods import RulesPredictor, RulesScenePredictor
from spex.errors import BandError, ModelError, QueryError, SceneError
from spex.evidence.scene_evidence import SceneEvidence
from spex.raster.scene import Pixels
from spex.results.extraction import Extraction

RULES: MethodName = "rules"


class Opening(RulesPredictor):
    """The index rules, whose open scene is of another class."""

    def __init__(self, scene_class: type[RulesScenePredictor]) -> None:
        self.scene_class = scene_class

    def open(self, overview: Pixels, evidence: SceneEvidence) -> RulesScenePredictor:
        return self.scene_class(evidence)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    opened = Chat(lambda method: load("rules"), tmp_path)
    yield opened
    opened.close()


def ask(chat: Chat, query: str) -> tuple[list[str], Extraction]:
    *steps, extraction = chat.ask(query, RULES)
    assert isinstance(extraction, Extraction) and all(isinstance(step, str) for step in steps)
    return [str(step) for step in steps], extraction


def test_an_upload_is_opened_asked_and_saved(
    chat: Chat, scene_file: Path, scene_bands: str, truth: np.ndarray, tmp_path: Path
) -> None:
    chat.upload([scene_file])
    assert not scene_file.exists(), "an upload is moved, so that nothing stays behind elsewhere"
    scene = chat.open(bands=scene_bands)
    assert (scene.path, chat.overview is not None) == ("scene.tif", True)

    steps, extraction = ask(chat, "open water")
    assert steps == [
        "loading the rules",
        "reading the scene",
        "reading the query",
        "measuring the masks",
    ]
    mask = mask_overview(extraction)
    assert ((mask == 1) == (truth == 0)).mean() > 0.98

    with zipfile.ZipFile(chat.save(extraction)) as archive:
        names = {Path(name).name: name for name in archive.namelist() if not name.endswith("/")}
        assert {
            "mask.tif",
            "mask.qml",
            "probability.tif",
            "regions.gpkg",
            "explanation.md",
            "quicklook.png",
        } < names.keys()
        result = json.loads(archive.read(names["extraction.json"]))
        archive.extract(names["mask.tif"], tmp_path / "unpacked")
    assert (result["scene"]["path"], result["masks"][0]["class"]) == ("scene.tif", "water")
    with rasterio.open(tmp_path / "unpacked" / names["mask.tif"]) as written:
        assert (written.read(1) == mask).all() and written.crs.to_epsg() == 32633


def test_the_second_question_keeps_what_was_measured(chat: Chat) -> None:
    chat.take_sample()
    chat.open()
    ask(chat, "open water and vegetation")
    steps, extraction = ask(chat, "vegetation in the north")
    assert steps == ["reading the query", "measuring the masks"]
    assert chat.save(extraction).name == "spex-sentinel2_sample-1.zip"


def test_questions_follow_up_the_last_answers_until_the_conversation_starts_anew(
    chat: Chat,
) -> None:
    chat.take_sample()
    chat.open()
    whole = ask(chat, "water")[1].to_dict()["masks"][0]
    north = ask(chat, "now only in the north")[1].to_dict()["masks"][0]
    assert (north["class"], north["constraints"]) == ("water", {"where": "north"})
    assert north["pixels"] < whole["pixels"]
    answer = ask(chat, "why?")[1]
    (mask,) = answer.to_dict()["masks"]
    assert mask["constraints"] == {"where": "north"} and mask["pixels"] == north["pixels"]
    assert "inside than outside" in answer.answer and "left out" in answer.answer
    chat.save(answer)  # audits every number

    assert ask(chat, "count the cars")[1].refused
    masks = ask(chat, "also the vegetation")[1].to_dict()["masks"]
    assert [mask["class"] for mask in masks] == ["water", "vegetation"], (
        "a refusal is not what is followed up"
    )

    chat.forget_exchanges()
    assert ask(chat, "why?")[1].refused
    ask(chat, "vegetation")
    chat.open()
    assert ask(chat, "only in the north")[1].refused, "another scene, another conversation"


def test_features_are_computed_once(tmp_path: Path) -> None:
    calls = 0

    class CountingScene(RulesScenePredictor):
        def features(self, pixels: object) -> np.ndarray:
            nonlocal calls
            calls += 1
            return np.zeros((1, 4, 4), np.float32)

    chat = Chat(lambda method: Extractor(Opening(CountingScene)), tmp_path)
    chat.take_sample()
    chat.open()
    ask(chat, "open water")
    ask(chat, "vegetation")
    assert calls == 1
    chat.close()


def test_two_people_share_nothing(tmp_path: Path) -> None:
    first, second = (Chat(lambda method: load("rules"), tmp_path) for _ in range(2))
    first.take_sample()
    first.open()
    with pytest.raises(QueryError, match="open a scene first"):
        list(second.ask("open water", RULES))
    assert first.folder != second.folder
    first.close()
    assert not first.folder.exists() and second.folder.exists()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_scene_without_bands_is_opened_with_help(
    chat: Chat, write_scene: Callable[..., Path]
) -> None:
    chat.upload([write_scene(np.full((5, 20, 20), 900, "float32"))])
    with pytest.raises(BandError, match=r"^scene\.tif: the wavelengths of its 5 bands"):
        chat.open()
    assert chat.scene is None
    inline = ",".join(f"b{i}={450 + 100 * i}/60" for i in range(5))
    assert len(chat.open(bands=inline).bands) == 5
    as_json = {
        "bands": [{"name": f"c{i}", "wavelength_nm": 450 + 100 * i} for i in range(5)],
        "level": "surface",
    }
    assert chat.open(bands=json.dumps(as_json)).bands[0].name == "c0"


def test_an_envi_raster_comes_with_its_header(chat: Chat, write_scene: Callable[..., Path]) -> None:
    bands = {"wavelength_units": "Nanometers"}
    path = write_scene(np.full((3, 20, 20), 900, "uint16"), "cube.dat", driver="ENVI", tags=bands)
    chat.upload([path.with_suffix(".hdr"), path])
    assert chat.open(bands="a=490/60,b=560/40,c=842/100").width == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "hello", "give one GeoTIFF"),
        ("scene.tif", "not a raster", "cannot be read as a GeoTIFF"),
        (
            "scene.tif",
            '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">'
            "<SimpleSource><SourceFilename>/etc/hostname</SourceFilename></SimpleSource>"
            "</VRTRasterBand></VRTDataset>",
            "cannot be read as a GeoTIFF",
        ),
    ],
    ids=["no raster", "not a raster", "a VRT in disguise"],
)
def test_bad_uploads_are_one_line(
    chat: Chat, tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SceneError, match=message) as caught:
        chat.upload([path])
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(SceneError, match="there is no scene yet"):
        chat.open()


def test_bands_are_never_read_from_a_file_of_the_server(chat: Chat, tmp_path: Path) -> None:
    secret = tmp_path / "secret=1.json"
    secret.write_text('{"bands": []}', encoding="utf-8")
    chat.take_sample()
    for text in (str(secret), "bands.json", "{not json"):
        with pytest.raises(BandError, match=r"^bands: "):
            chat.open(bands=text)


def test_a_scene_without_a_valid_pixel_is_refused_at_once(
    chat: Chat, write_scene: Callable[..., Path]
) -> None:
    chat.upload([write_scene(np.zeros((4, 20, 20), "uint16"), nodata=0)])
    with pytest.raises(SceneError, match=r"^scene\.tif"):
        chat.open(bands="B02=490/65,B03=560/35,B04=665/30,B08=842/115")


def test_a_query_nobody_can_read_is_refused_before_any_work(chat: Chat) -> None:
    chat.take_sample()
    chat.open()
    for query in ("", "x" * 5000, "water \x07"):
        with pytest.raises(QueryError):
            next(chat.ask(query, RULES))


def test_a_model_that_is_not_there_leaves_the_rules(tmp_path: Path) -> None:
    def loader(method: MethodName) -> Extractor:
        if method == "model":
            raise ModelError("no checkpoint")
        return load("rules")

    chat = Chat(loader, tmp_path)
    chat.take_sample()
    chat.open()
    with pytest.raises(ModelError):
        list(chat.ask("open water", "model"))
    assert ask(chat, "open water")[1].facts
    chat.close()


def test_stopping_and_walking_away_end_the_work(
    tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    tiles = 0

    class StoppingScene(RulesScenePredictor):
        def decode(self, *arguments: object) -> np.ndarray:
            nonlocal tiles
            tiles += 1
            if stopping and tiles == 2:
                started.stop()
            return super().decode(*arguments)  # type: ignore[arg-type]

    values = np.random.default_rng(0).integers(300, 3000, (4, 600, 2600)).astype("uint16")
    path = write_scene(values)
    started = Chat(lambda method: Extractor(Opening(StoppingScene)), tmp_path)
    started.upload([path])
    started.open(bands="B02=490/65,B03=560/35,B04=665/30,B08=842/115")
    stopping = True
    steps = list(started.ask("vegetation", RULES))
    assert all(isinstance(step, str) for step in steps) and tiles == 2
    stopping, tiles = False, 0
    asking = started.ask("vegetation", RULES)
    while not next(asking).startswith("tiles 1/"):  # type: ignore[union-attr]
        pass
    asking.close()  # type: ignore[attr-defined]
    assert tiles < 12
    started.close()
