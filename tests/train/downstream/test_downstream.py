"""Downstream tasks on synthetic places: arms learn, few shots are nested, results are complete."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import yaml
from typer.testing import CliRunner

from spex.errors import ConfigError, RecordError
from spex.model.config import SIZES, SpecAwareConfig
from spex.model.encoder import SpecAwareEncoder
from spex.records import BandRef, Rle, SceneRef, SpanTarget, SpieRecord, write_records
from spex.sensors import Band
from tests.scenes import write_synthetic_scene
from train.__main__ import command
from train.downstream.class_scores import confusion_counts, scores
from train.downstream.downstream_settings import (
    ARMS,
    DownstreamSettings,
    TaskSettings,
    load_downstream,
)
from train.downstream.examples import Example, augment, few_shot_examples
from train.downstream.experiment import ExperimentRun, FrozenEncoderCache, measure, run_downstream
from train.downstream.heads import FineTuned, LinearProbe, frozen_features
from train.downstream.tasks import DownstreamTask, load_task
from train.downstream.unet import unet_of_size

CLASSES = {1: "water", 2: "vegetation", 3: "bare", 4: "built_up"}
BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0)]
TASKS = {
    "cover": {
        "kind": "segmentation",
        "sources": ["made"],
        "classes": ["water", "bare", "built_up"],
    },
    "fire": {"kind": "change", "sources": ["fires"], "classes": ["burned"]},
    "tiles": {"kind": "scene", "sources": ["made"], "classes": list(CLASSES.values()), "tile": 16},
}


def record(
    path: Path, number: int, source: str, truth: dict[str, np.ndarray], **more: object
) -> SpieRecord:
    spans = [SpanTarget(class_name=c, phrase=c, mask=Rle.encode(m)) for c, m in truth.items()]
    return SpieRecord(
        id=path.stem,
        kind="survey",
        split="val" if number > 3 else "train",
        place=f"{source} {number}",
        source=source,
        scene=SceneRef(path=path.name),
        sensor="made",
        level="surface",
        gsd_m=10.0,
        scale=1e-4,
        spans=spans,
        bands=[BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six places, two for validation, each with two land-cover images and two dates of a fire."""
    folder = tmp_path_factory.mktemp("places")
    bands, made, fires = tuple(Band(n, w, 40.0) for n, w in BANDS), [], []
    for number in range(6):
        for part in range(2):
            path = folder / f"made_{number}_{part}.tif"
            truth = write_synthetic_scene(
                path, bands=bands, height=64, width=64, seed=10 * number + part
            )
            made.append(
                record(
                    path, number, "made", {name: truth == code for code, name in CLASSES.items()}
                )
            )
        rng = np.random.default_rng(number)
        row, col = rng.integers(4, 30, 2)
        for date in ("pre", "post"):
            path = folder / f"fire_{number}_{date}.tif"
            write_synthetic_scene(path, bands=bands, height=60, width=72, seed=20 + number)
            burned = np.zeros((60, 72), bool)
            if date == "post":
                burned[row : row + 24, col : col + 28] = True
                with rasterio.open(path, "r+") as file:
                    values = file.read()
                    values[:, burned] = (
                        values[:, burned] * np.array([0.5, 0.4, 0.5, 0.2, 0.6])[:, None]
                    ).astype("u2")
                    file.write(values)
            fires.append(record(path, number, "fires", {"burned": burned}))
    write_records(folder / "survey_made.parquet", made)
    write_records(folder / "survey_fires.parquet", fires)
    torch.manual_seed(1)
    micro().save_pretrained(folder / "encoder")
    return folder


def few(task: DownstreamTask, shots: int | None, seed: int) -> list[Example]:
    return few_shot_examples(task.train, task.class_numbers, shots, seed)


def micro() -> SpecAwareEncoder:
    return SpecAwareEncoder(SpecAwareConfig(**SIZES["micro"]["vision_config"]))


def settings(data: Path, out: Path, **changes: object) -> DownstreamSettings:
    values: dict[str, object] = {
        "data": str(data),
        "out": str(out),
        "tasks": TASKS,
        "encoder": str(data / "encoder"),
        "steps": 60,
        "probe_steps": 60,
        "crop": 32,
        "threads": 1,
        "shots": [8],
        "seeds": [0],
        "rates": {"probe": 3e-2, "pretrained": 3e-3, "scratch": 3e-3, "unet": 1e-2},
    }
    return DownstreamSettings(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    pytest.importorskip("matplotlib")
    out = tmp_path_factory.mktemp("out")
    run_downstream(settings(data, out))
    return json.loads((out / "results.json").read_text()) | {"out": out}


def test_every_arm_learns_every_task(results: dict) -> None:
    most_common = {
        "cover": 0.07,
        "fire": 0.16,
        "tiles": 0.18,
    }  # the best mean IoU of one answer everywhere
    for run in results["runs"]:
        assert run["mean_iou"] > most_common[run["task"]] + 0.25, run


def test_results_are_complete(results: dict) -> None:
    assert sorted((r["task"], f"{r['mode']}/{r['init']}") for r in results["runs"]) == sorted(
        product(TASKS, ARMS)
    )
    for run in results["runs"]:
        about = results["tasks"][run["task"]]
        assert list(run["classes"]) == about["classes"]
        for row in run["classes"].values():
            assert row["support"] == 0 or 0 <= row["iou"] <= row["f1"] <= 1
        assert (run["shots"], run["seed"]) == (8, 0) and run["seconds"]["train"] > 0
        probe = run["mode"] == "probe"
        assert (
            (run["trained_parameters"] < 0.2 * run["parameters"])
            if probe
            else (run["trained_parameters"] == run["parameters"])
        )
        assert (
            about["train_places"] == 4
            and about["val_places"] == 2
            and about["bands"] == [n for n, _ in BANDS]
        )
    tuned = next(r for r in results["runs"] if r["init"] == "scratch" and r["mode"] == "finetune")
    unet = next(r for r in results["runs"] if r["init"] == "unet")
    assert 0.5 < unet["parameters"] / tuned["parameters"] < 2
    assert (results["out"] / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_second_run_adds_what_is_missing_and_refuses_other_settings(
    data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    one = {"tasks": {"tiles": TASKS["tiles"]}, "steps": 5, "arms": ["probe/pretrained"]}
    first = run_downstream(settings(data, tmp_path, **one))
    more = run_downstream(settings(data, tmp_path, **one, seeds=[0, 1], shots=[1, 8]))
    assert more["runs"][0] == first["runs"][0] and len(more["runs"]) == 4
    with pytest.raises(ConfigError, match="another steps"):
        run_downstream(settings(data, tmp_path, **{**one, "steps": 6}))
    other = tmp_path / "encoder"
    micro().save_pretrained(other)
    with pytest.raises(ConfigError, match="another encoder"):
        run_downstream(settings(data, tmp_path, **one, encoder=str(other)))
    tile = {"tiles": {**TASKS["tiles"], "tile": 8}}
    with pytest.raises(ConfigError, match="another task tiles"):
        run_downstream(settings(data, tmp_path, **{**one, "tasks": tile}))


def test_what_begins_from_scratch_holds_for_another_encoder_of_its_size(
    data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    micro().save_pretrained(tmp_path / "other")
    one = {"tasks": {"tiles": TASKS["tiles"]}, "steps": 2}
    run_downstream(
        settings(data, tmp_path, **one, encoder=str(tmp_path / "other"), arms=["finetune/unet"])
    )
    both = run_downstream(
        settings(data, tmp_path, **one, arms=["probe/pretrained", "finetune/unet"])
    )
    assert [run["init"] for run in both["runs"]] == ["unet", "pretrained"]


def test_a_task_may_have_arms_and_shots_of_its_own(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tasks = {
        "tiles": {**TASKS["tiles"], "arms": ["finetune/unet"], "shots": [1]},
        "fire": {**TASKS["fire"], "shots": ["all"]},
    }
    found = run_downstream(
        settings(data, tmp_path, tasks=tasks, steps=1, arms=["probe/scratch"], shots=[2])
    )
    assert [(r["task"], r["init"], r["shots"]) for r in found["runs"]] == [
        ("tiles", "unet", 1),
        ("fire", "scratch", "all"),
    ]


def test_a_probe_leaves_the_encoder_as_it_was(data: Path) -> None:
    task = load_task(data, "cover", TaskSettings(**TASKS["cover"]))
    encoder = micro()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    probe = LinearProbe(
        frozen_features(encoder, "segmentation", task.train), task.train, len(task.classes)
    )
    assert sorted(name for name, _ in probe.named_parameters()) == ["layer.bias", "layer.weight"]
    sum(one.square().mean() for one in probe(task.train[:2])).backward()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize("name", TASKS)
def test_fine_tuning_starts_from_the_probe_and_reaches_the_embedding(data: Path, name: str) -> None:
    task = load_task(data, name, TaskSettings(**TASKS[name]))
    encoder, some = micro().eval(), task.train[:2]
    probe = LinearProbe(
        frozen_features(encoder, task.kind, task.train), task.train, len(task.classes)
    )
    tuned = FineTuned(encoder, probe, task.kind).train()
    logits = tuned(some)
    assert [one.shape for one in logits] == [(len(task.classes), *e.target.shape) for e in some]
    for one, linear in zip(logits, probe(some), strict=True):
        torch.testing.assert_close(
            one, linear, atol=0.05, rtol=0.05
        )  # features are kept in half precision
    sum(one.square().mean() for one in logits).backward()
    reached = [n for n, p in tuned.named_parameters() if "embedding" in n and p.grad is not None]
    content = [
        n for n in dict(tuned.named_parameters()) if "embedding.content" in n and name == "fire"
    ]
    assert len(reached) + len(content) == sum(
        "embedding" in n for n in dict(tuned.named_parameters())
    )


def test_what_has_not_changed_has_the_same_features_on_both_dates(data: Path) -> None:
    example = load_task(data, "fire", TaskSettings(**TASKS["fire"])).train[0]
    values = example.dates[0].values.copy()
    values[:, :4, :4] = 0.9
    pair = replace(example, dates=(example.dates[0], replace(example.dates[0], values=values)))
    features = frozen_features(micro(), "change", [pair])[pair.id]
    difference = features[len(features) // 3 * 2 :]
    assert (difference[:, 0, 0] > 0).any() and (difference[:, -1, -1] == 0).all()


@pytest.mark.parametrize("name", TASKS)
def test_the_unet_fits_the_image_and_has_the_size_asked_for(data: Path, name: str) -> None:
    task = load_task(data, name, TaskSettings(**TASKS[name]))
    unet = unet_of_size(task.train, len(task.classes), task.kind != "scene", 3_000_000)
    assert 2.4e6 < sum(p.numel() for p in unet.parameters()) < 3.6e6
    logits = unet(task.train[:2])
    assert [one.shape for one in logits] == [
        (len(task.classes), *e.target.shape) for e in task.train[:2]
    ]


def test_few_shots_are_nested_and_spread_over_places(data: Path) -> None:
    task = load_task(data, "cover", TaskSettings(**TASKS["cover"]))
    chosen = {n: few(task, n, seed=3) for n in (1, 2, 4, 8)}
    for small, large in zip((1, 2, 4), (2, 4, 8), strict=True):
        assert {e.id for e in chosen[small]} <= {e.id for e in chosen[large]}
    assert (
        len(chosen[4]) == len({e.place for e in chosen[4]}) == 4
    )  # every place once before one comes twice
    assert (
        {e.id for e in few(task, None, 0)}
        == {e.id for e in task.train}
        == {e.id for e in chosen[8]}
    )
    assert [e.id for e in few(task, 1, 3)] == [e.id for e in chosen[1]]
    assert {few(task, 1, seed)[0].id for seed in range(9)} != {chosen[1][0].id}
    assert not {e.place for e in task.train} & {e.place for e in task.val}
    scenes = load_task(data, "tiles", TaskSettings(**TASKS["tiles"]))
    found = few(scenes, 3, 0)
    assert sorted(int(e.target) for e in found) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_change_is_what_a_class_gained_between_the_dates(data: Path) -> None:
    task = load_task(data, "fire", TaskSettings(**TASKS["fire"]))
    assert task.classes == ("unchanged", "burned") and len(task.train) == 4 and len(task.val) == 2
    for example in task.train:
        before, after = (date.values.astype(np.float32) for date in example.dates)
        assert (example.target == 1).sum() == 24 * 28
        darker = (after[3] < 0.6 * before[3])[example.target == 1].mean()
        assert darker > 0.95 and np.array_equal(
            before[:, example.target == 0], after[:, example.target == 0]
        )


def test_augmentation_moves_pixels_and_truth_together(data: Path) -> None:
    example = load_task(data, "fire", TaskSettings(**TASKS["fire"])).train[0]
    rng = np.random.default_rng(0)
    for _ in range(8):
        moved = augment(example, 68, rng)
        before, after = (date.values.astype(np.float32) for date in moved.dates)
        assert moved.target.shape == (68, 68) and (moved.target[~moved.dates[0].valid] == -1).all()
        assert (after[3] < 0.6 * before[3])[moved.target == 1].mean() > 0.95


def test_unknown_pixels_count_neither_in_training_nor_in_scores(data: Path) -> None:
    task = load_task(data, "cover", TaskSettings(**TASKS["cover"]))
    known = task.val[0].target >= 0

    class Certain(torch.nn.Module):
        def forward(self, examples: list) -> list[torch.Tensor]:
            truth = torch.from_numpy(np.maximum(examples[0].target, 0))
            return [torch.nn.functional.one_hot(truth, 4).movedim(-1, 0).float()]

    counts = confusion_counts(Certain(), task.val[:1], 4)
    assert (
        counts.sum() == known.sum()
        and scores(counts, task.classes, task.class_numbers)["mean_iou"] == 1.0
    )
    wrong = scores(
        torch.tensor([[5, 0, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]]),
        task.classes,
        task.class_numbers,
    )
    assert wrong["classes"]["water"] == {"iou": 0.75, "f1": 6 / 7, "support": 4}
    assert wrong["classes"]["bare"]["iou"] is None and wrong["oa"] == 8 / 11
    assert wrong["mean_iou"] == pytest.approx((0.75 + 0.0) / 2)


def test_the_same_seed_gives_the_same_scores(data: Path, tmp_path: Path) -> None:
    task = load_task(data, "tiles", TaskSettings(**TASKS["tiles"]))
    tiny = settings(data, tmp_path, steps=4)
    runs = [
        measure(
            ExperimentRun(task, "finetune", "scratch", 2, 5),
            tiny,
            FrozenEncoderCache(),
            torch.device("cpu"),
        )
        for _ in range(2)
    ]
    assert runs[0] | {"seconds": 0} == runs[1] | {"seconds": 0}


def test_the_command_runs_a_file(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "tiny.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "data": str(data),
                "out": str(tmp_path / "out"),
                "tasks": {"tiles": TASKS["tiles"]},
                "encoder": str(data / "encoder"),
                "steps": 3,
                "shots": [1],
            }
        )
    )
    found = CliRunner().invoke(
        command, ["downstream", str(file), "arms=[probe/pretrained]", "seeds=[0]", "threads=1"]
    )
    assert found.exit_code == 0, found.output
    assert "probe/pretrained" in found.output and (tmp_path / "out/curves.png").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["probe/unet"]}, "no arm 'probe/unet'"),
        ({"encoder": "nowhere"}, "no encoder in 'nowhere'"),
        ({"shots": [0]}, "shots 0"),
        ({"crop": 16}, "crop=16"),
        ({"rates": {"probe": 1}}, "lack 'pretrained'"),
        ({"stepz": 4}, "unknown setting 'stepz'"),
        ({"tasks": {"tiles": {**TASKS["tiles"], "arms": ["probe/unet"]}}}, "no arm 'probe/unet'"),
        ({"tasks": {"tiles": {**TASKS["tiles"], "shot": 1}}}, "task tiles in .*shot"),
    ],
)
def test_a_bad_file_is_one_clear_error(
    data: Path, tmp_path: Path, change: dict, message: str
) -> None:
    values = {
        "data": str(data),
        "out": "o",
        "tasks": TASKS,
        "encoder": str(data / "encoder"),
        **change,
    }
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=message):
        load_downstream(tmp_path / "bad.yaml")


def test_bad_tasks_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no class 'lava'"):
        TaskSettings("segmentation", ["made"], ["lava"])
    with pytest.raises(ConfigError, match="no task of kind"):
        TaskSettings("guess", ["made"], ["water"])  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="task t: no train example from elsewhere"):
        load_task(data, "t", TaskSettings("segmentation", ["elsewhere"], ["water"]))
    with pytest.raises(RecordError, match="no training example shows burned"):
        load_task(data, "t", TaskSettings("segmentation", ["made"], ["water", "burned"]))
    with pytest.raises(ConfigError, match="has no band 'S2'"):
        load_task(data, "t", TaskSettings("segmentation", ["made"], ["water"], bands=["B", "S2"]))
    held = load_task(
        data,
        "t",
        TaskSettings("scene", ["made"], ["water", "vegetation"], tile=16, held_out="made_0"),
    )
    assert {e.place for e in held.val} == {"made 0", "made 4", "made 5"}
    subset = load_task(
        data, "t", TaskSettings("segmentation", ["made"], ["water"], bands=["N", "G"])
    )
    assert [b.name for b in subset.train[0].dates[0].bands] == ["N", "G"]


def test_the_shipped_file_loads(data: Path) -> None:
    path = Path(__file__).parents[3] / "train/configs/downstream.yaml"
    found = load_downstream(path, [f"encoder={data / 'encoder'}"])
    assert {TaskSettings(**about).kind for about in found.tasks.values()} == {
        "segmentation",
        "change",
        "scene",
    }
