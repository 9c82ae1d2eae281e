"""Adapters: a region or a class learned from a few tiles, the report, what must not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import torch
import yaml
from pyogrio.raw import write
from rasterio.features import shapes
from rasterio.transform import from_origin
from safetensors.torch import load_file
from shapely.geometry import shape

from spex.engine.extractor import load as load_extractor
from spex.errors import ConfigError, ModelError, RecordError
from spex.evidence.class_additions import add_classes
from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.model import precision
from spex.model.adapter import Adapter, read_adapter
from spex.model.config import make_config
from spex.model.generation import GenerationRequest
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import format_span
from spex.query.prompt import user_message
from spex.records import SpieRecord, load_pixels
from spex.sensors import Band
from tests.added_classes import remove_added_classes
from tests.scenes import synthetic_scene
from train.adapt.comparison import MAX_IOU_LOSS
from train.adapt.region_crops import RegionStream
from train.adapt.region_records import LabelOptions, hold_out, read_survey_records, region_folder
from train.adapt.training import AdaptTrainer
from train.adapt.workflow import AdaptTask, adapt
from train.data.batches import save_batch
from train.data.conversations import pad
from train.data.training_chips import training_chip
from train.run import lora
from train.run.losses import text_loss
from train.settings import AdaptSettings
from train.stages.tokenizer import train_tokenizer

BANDS = tuple(
    Band(n, w, 40.0) for n, w in (("B", 490), ("G", 560), ("R", 665), ("N", 842), ("S1", 1610))
)
SIDECAR = {
    "bands": [
        {"name": b.name, "wavelength_nm": b.wavelength_nm, "fwhm_nm": b.fwhm_nm} for b in BANDS
    ],
    "scale": 1.0,
    "level": "surface",
    "gsd_m": 10,
}
NAMES = {1: "water", 2: "vegetation", 3: "bare", 4: "solar_farm"}
NEW = {
    "classes": {
        "solar_farm": {"title": "solar farms", "synonyms": ["solar park"], "colour": "#d01c8b"}
    }
}


@pytest.fixture(autouse=True)
def only_own_classes() -> Iterator[None]:
    """Classes that a test adds are gone after it."""
    yield
    remove_added_classes()


def region(folder: Path, count: int) -> Path:
    """Tiles of 64 pixels, 20 km from each other, with class rasters, each turned another way."""
    (folder / "labels").mkdir(parents=True)
    for number in range(count):
        values, truth = synthetic_scene(BANDS, 64, 64, seed=number)
        values, truth = (np.rot90(a, number, (-2, -1)) for a in (values, truth))
        corner = from_origin(500_000 + 20_000 * number, 5_300_000, 10, 10)
        grid = {"crs": "EPSG:32632", "transform": corner, "height": 64, "width": 64}
        path = folder / f"tile{number}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=len(BANDS), dtype="float32", **grid
        ) as out:
            out.write(values)
        path.with_suffix(".bands.json").write_text(json.dumps(SIDECAR))
        with rasterio.open(
            folder / "labels" / path.name, "w", driver="GTiff", count=1, dtype="uint8", **grid
        ) as out:
            out.write(truth, 1)
    (folder / "classes.yaml").write_text(yaml.safe_dump(NEW))
    (folder / "legend.yaml").write_text(yaml.safe_dump({"title": "made", "codes": NAMES}))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of six tiles, at two of which nothing is to be learned."""
    data = region(tmp_path_factory.mktemp("region") / "tiles", 6)
    return region_folder(data, data.parent / "work", LabelOptions())


def micro(folder: Path, seed: int = 0, steps: int = 0) -> Path:
    """A small model that at most learned to name what it is asked for: it has seen no mask."""
    titles = {name: about.title for name, about in classes().items()} | {
        "solar_farm": "solar farms"
    }
    said = {title: f"{format_span(name, title)}: <fact:area>." for name, title in titles.items()}
    tokenizer = train_tokenizer([*(user_message(title, "") for title in said), *said.values()], 600)
    torch.manual_seed(seed)
    model = SpexModel(make_config("micro", tokenizer, prior_in_answer=False))
    processor = SpexProcessor(tokenizer, 4, 32)
    text = pad([processor.encode(title, "", answer) for title, answer in said.items()], tokenizer)
    optimizer = torch.optim.AdamW(model.language.parameters(), lr=4e-3)
    for _ in range(steps):
        embeds = model.embed(text.input_ids, torch.randn(len(said), 4, 64))
        logits = model.language(inputs_embeds=embeds, attention_mask=text.attention_mask).logits
        text_loss(logits, text.input_ids, text.weight).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    processor.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return micro(tmp_path_factory.mktemp("model") / "micro", steps=60)


def quick(**changes: object) -> AdaptSettings:
    values = {
        "batch_size": 2,
        "crop_size": 64,
        "max_steps": 3,
        "max_minutes": 5.0,
        "lora_rank": 2,
        "threads": 1,
        "precision": "fp32",
    }
    return AdaptSettings(**{**values, **changes})  # type: ignore[arg-type]


def perturbed(predictor: ModelPredictor, name: str = "region") -> tuple[AdaptTrainer, Adapter]:
    """Random low-rank pairs in the parts that stage ``adapt`` learns, and their adapter."""
    trainer = AdaptTrainer(predictor.model, 2)
    for parameter in trainer.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    pairs = {
        layer: (down, scale * up) for layer, (down, up, scale) in lora.lora_pairs(trainer).items()
    }
    learned = ("water", "solar_farm")
    return trainer, Adapter(
        name, str(predictor.sha256), pairs, learned, {"solar_farm": NEW["classes"]["solar_farm"]}
    )


def test_an_adapter_gives_the_weights_that_merging_gives(base: Path, tmp_path: Path) -> None:
    predictor = load(base)
    trainer, made = perturbed(predictor)
    made.save(tmp_path / "region")
    adapted = load(base, adapter=tmp_path / "region")
    merged, plain, moved = lora.merged_state(trainer), predictor.model.state_dict(), 0
    for name, value in adapted.adapted.state_dict().items():
        own = merged.get(name, plain[name])
        assert torch.allclose(
            value, own, atol=0.01 * float(own.abs().max())
        )  # pairs are kept in bfloat16
        moved += not torch.equal(value, plain[name])
    assert moved == len(made.pairs)
    assert all(
        torch.equal(value, plain[name]) for name, value in adapted.model.state_dict().items()
    )
    assert adapted.name == "micro+region" and adapted.sha256 not in (predictor.sha256, None)
    assert mentioned_classes("every solar park in the north") == ["solar_farm"]


def test_only_masks_of_the_classes_learned_are_made_with_an_adapter(
    built: Path, base: Path, tmp_path: Path
) -> None:
    plain = load(base)
    perturbed(plain)[1].save(tmp_path / "region")
    adapted = load(base, adapter=tmp_path / "region")
    pixels = load_pixels(read_survey_records(built)[0])
    evidence = measure(pixels)
    rows = [
        (
            GenerationRequest("water and vegetation"),
            f"{format_span('water', 'water')} {format_span('vegetation', 'vegetation')}",
        ),
        (GenerationRequest("bare ground"), format_span("bare", "bare ground")),
        (GenerationRequest("solar farms"), format_span("solar_farm", "solar farms")),
    ]
    scenes = [predictor.open(pixels, evidence) for predictor in (plain, adapted)]
    before, after = (scene.decoder_weights(rows) for scene in scenes)
    same = [
        [torch.equal(x, y) for x, y in zip(*pair, strict=True)]
        for pair in zip(before, after, strict=True)
    ]
    assert same == [[False, True], [True], [False]]
    assert np.array_equal(*(scene.features(pixels) for scene in scenes))


def test_an_adapter_of_another_model_or_a_damaged_one_is_refused(
    base: Path, tmp_path: Path
) -> None:
    predictor = load(base)
    perturbed(predictor)[1].save(tmp_path / "region")
    other = micro(tmp_path / "other", seed=1)
    with pytest.raises(
        ModelError, match=f"{str(predictor.sha256)[:12]}.*{str(load(other).sha256)[:12]}"
    ):
        load(other, adapter=tmp_path / "region")
    weights, about = tmp_path / "region/adapter.safetensors", tmp_path / "region/adapter.json"
    told = json.loads(about.read_text())
    about.write_text(json.dumps(told | {"format": 99}))
    with pytest.raises(ModelError, match="format 99 and this version reads 1"):
        read_adapter(tmp_path / "region")
    about.write_text(json.dumps(told))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        read_adapter(tmp_path / "region")
    weights.unlink()
    with pytest.raises(ModelError, match="no adapter at"):
        load(base, adapter=tmp_path / "region")
    with pytest.raises(ConfigError, match="no weights"):
        load_extractor("rules", adapter=tmp_path)


def test_records_of_a_region_know_its_new_class(built: Path) -> None:
    records = read_survey_records(built)
    spans = {span.class_name for record in records for span in record.spans}
    assert {"water", "vegetation", "bare", "solar_farm"} <= spans
    parted = hold_out(records)
    assert parted.held_out and {r.place for r in parted.held_out}.isdisjoint(
        r.place for r in parted.training
    )
    with pytest.raises(RecordError, match="give at least two"):
        hold_out(records[:1])
    with pytest.raises(RecordError, match="both in the data and in the records to check on"):
        hold_out(records, records[:1])
    given = hold_out(parted.training, parted.held_out)
    assert given.training == parted.training and given.held_out == parted.held_out


def test_one_place_is_parted_into_two_blocks(built: Path) -> None:
    parted = hold_out(
        [record.model_copy(update={"place": "one"}) for record in read_survey_records(built)]
    )
    assert "one place" in parted.split_description and len(parted.held_out) == 2

    def east(record: SpieRecord) -> float:
        with rasterio.open(record.scene.path) as raster:
            return raster.bounds.left

    assert max(map(east, parted.training)) < min(map(east, parted.held_out))


def test_drawn_polygons_say_what_is_the_class_and_what_is_not(tmp_path: Path) -> None:
    data = region(tmp_path / "tiles", 2)
    drawn = []
    for path in sorted((data / "labels").glob("*.tif")):
        with rasterio.open(path) as raster:
            codes = raster.read(1)
            found = shapes((codes == 4).astype(np.uint8), codes == 4, transform=raster.transform)
            drawn += [shape(one) for one, _ in found]
        path.unlink()
    (data / "legend.yaml").unlink()
    write(
        data / "drawn.gpkg",
        geometry=shapely.to_wkb(np.array(drawn)),
        crs="EPSG:32632",
        geometry_type="Polygon",
        fields=np.array(["kind"], object),
        field_data=[np.array(["solar park"] * len(drawn), object)],
    )
    records = read_survey_records(region_folder(data, tmp_path / "work", LabelOptions()))
    assert len(records) == 2
    for number, record in enumerate(records):
        _, truth = synthetic_scene(BANDS, 64, 64, seed=number)
        (span,) = [span for span in record.spans if span.class_name == "solar_farm"]
        assert span.mask is not None and span.ignore is None
        assert np.array_equal(span.mask.decode(), np.rot90(truth, number) == 4)


def test_a_new_class_is_never_asked_where_no_label_speaks_of_it(built: Path, base: Path) -> None:
    records = read_survey_records(built)
    names = (*classes(), *(["solar_farm"] if "solar_farm" not in classes() else []))
    add_classes(NEW["classes"], "test")
    silent = [span for span in records[0].spans if span.class_name != "solar_farm"]
    other = records[0].model_copy(update={"spans": silent, "id": "other"})
    stream = RegionStream(
        load(base),
        [training_chip(records[1], names)],
        [training_chip(other, names)] * 50,
        names,
        quick(batch_size=20),
    )
    crops = stream.draw(0, 0)
    assert stream.learned == ("water", "vegetation", "bare", "solar_farm")
    told = [
        (name, bool((mask >= 0).any()))
        for crop in crops
        for name, mask in zip(crop.names, crop.labels, strict=True)
    ]
    assert ("solar_farm", True) in told and ("solar_farm", False) not in told
    for crop in crops:
        before = torch.tensor([name != "solar_farm" for name in crop.names])[:, None, None]
        assert torch.equal(
            crop.silent, (crop.labels < 0) & before
        )  # these scenes are valid everywhere
    again = RegionStream(
        load(base), [training_chip(records[1], names)], stream.replayed, names, quick(batch_size=20)
    ).draw(0, 0)
    for one, other in zip(crops, again, strict=True):
        assert one.names == other.names and torch.equal(one.labels, other.labels)
        assert torch.equal(one.features, other.features) and torch.allclose(
            one.before, other.before, atol=1e-6
        )


def test_crops_seen_in_bfloat16_are_learned_from_in_float32(
    built: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    add_classes(NEW["classes"], "test")
    predictor, record = load(base), read_survey_records(built)[0]
    stream = RegionStream(
        predictor,
        [training_chip(record, tuple(classes()))],
        [],
        tuple(classes()),
        quick(batch_size=2),
    )
    crops = stream.draw(0, 0)
    losses = AdaptTrainer(predictor.model, 2)([*crops, crops[0]])
    assert all(bool(loss.isfinite()) for loss in losses.values()) and losses["bce"].requires_grad
    save_batch([*crops, crops[0]], tmp_path / "batch.safetensors")
    kept = load_file(tmp_path / "batch.safetensors")
    assert torch.equal(kept["2.features"], kept["0.features"]) and torch.equal(
        kept["0.features"], crops[0].features
    )


def test_a_region_may_show_a_new_class_alone_but_not_nothing(built: Path, base: Path) -> None:
    add_classes(NEW["classes"], "test")
    names, record = tuple(classes()), read_survey_records(built)[0]
    farms = record.model_copy(
        update={"spans": [one for one in record.spans if one.class_name == "solar_farm"]}
    )
    stream = RegionStream(
        load(base),
        [training_chip(farms, names)],
        [training_chip(record, names)],
        names,
        quick(batch_size=8),
    )
    assert {crop.names for crop in stream.draw(0, 0)} == {("solar_farm",)}
    with pytest.raises(RecordError, match="show no class"):
        silent = training_chip(record.model_copy(update={"spans": []}), names)
        RegionStream(load(base), [silent], [training_chip(record, names)], names, quick())


def test_the_command_writes_an_adapter_and_a_report_and_goes_on_after_a_stop(
    built: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = AdaptTask(built, tmp_path / "farms", base=str(base))
    add_classes(NEW["classes"], "test")
    with monkeypatch.context() as patch:
        patch.setattr(
            "train.adapt.workflow.read_adapter", lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            adapt(task, quick(), say=lambda _: None)
    assert not (task.out / "adapter.json").exists()
    with pytest.raises(ConfigError, match="was begun with other data or settings"):
        adapt(task, quick(max_steps=4), say=lambda _: None)
    said: list[str] = []
    report = adapt(task, quick(), say=said.append)
    assert report["steps"] == 3 and report["new"] == ["solar_farm"]
    assert report["tiles"] == len(hold_out(read_survey_records(built)).training)
    assert sorted(p.name for p in task.out.iterdir()) == [
        "adapter.json",
        "adapter.safetensors",
        "before_after.png",
        "report.json",
        "report.md",
    ]
    assert json.loads((task.out / "report.json").read_text()) == report
    arms = {title for row in report["scores"] for title in row["iou"]}
    assert arms == {"index rules", "before", "after"}
    with pytest.raises(ConfigError, match="holds an adapter already"):
        adapt(task, quick(), say=lambda _: None)
    extractor = load_extractor(base, adapter=task.out)
    extraction = extractor.extract(read_survey_records(built)[0].scene.path, "solar park")
    assert extraction.model[0] == "micro+farms"
    assert extraction.refused is None  # a class without an index of its own is no reason to refuse


def test_too_few_minutes_are_said_before_anything_is_learned(
    built: Path, base: Path, tmp_path: Path
) -> None:
    add_classes(NEW["classes"], "test")
    with pytest.raises(ConfigError, match="minutes are too few: measuring alone takes"):
        adapt(
            AdaptTask(built, tmp_path / "farms", base=str(base)),
            quick(max_minutes=0.001),
            say=lambda _: None,
        )


@pytest.mark.slow  # some two minutes: the shipped model learns and is asked before and after
def test_the_shipped_model_learns_a_new_class_and_keeps_the_others(
    built: Path, tmp_path: Path
) -> None:
    """Solar farms, of which it never heard, on places never seen."""
    add_classes(NEW["classes"], "test")
    report = adapt(
        AdaptTask(built, tmp_path / "farms"),
        quick(max_steps=300, lora_rank=16, max_minutes=60, batch_size=4, learning_rate=1.5e-3),
    )
    found = {row["class"]: row for row in report["scores"]}
    assert found["solar_farm"]["iou"]["before"] < 0.3 and found["solar_farm"]["iou"]["after"] > 0.8
    for name in ("water", "vegetation", "bare"):
        assert found[name]["iou"]["before"] - found[name]["iou"]["after"] <= MAX_IOU_LOSS
    assert report["forgetting"]["beyond"] == [] and report["bytes"] < 4e6
