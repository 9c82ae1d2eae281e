"""Stage ``pretrain``: it learns over mixed sensors, draws samples, resumes exactly, distributes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spex.errors import ConfigError, ModelError
from spex.model.encoder import SpecAwareEncoder
from spex.records import BandRef, SceneRef, SpieRecord, write_records
from spex.sensors import Band
from tests.scenes import write_synthetic_scene
from train.data.unlabelled import PixelStream, image_probabilities, load_images, survey_records
from train.run.reconstructions import example_images, reconstruct
from train.settings_file import load_settings
from train.stages.launch import run_stage
from train.stages.pretrain import load_autoencoder

ROOT = Path(__file__).parents[3]
FEW = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0)]
MANY = [(f"b{i}", 400.0 + 40 * i) for i in range(50)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small scenes of two sensors, one of each for validation."""
    folder = tmp_path_factory.mktemp("spie")
    for sensor, bands in (("few", FEW), ("many", MANY)):
        width, records = 40.0 if sensor == "few" else 10.0, []
        for number in range(3):
            path = folder / f"{sensor}_{number}.tif"
            write_synthetic_scene(
                path,
                bands=tuple(Band(n, w, width) for n, w in bands),
                height=80,
                width=80,
                seed=number,
            )
            about = {
                "id": path.stem,
                "place": path.stem,
                "split": "val" if number == 2 else "train",
                "source": sensor,
                "sensor": sensor,
                "scene": SceneRef(path=path.name),
                "level": "surface",
                "gsd_m": 10.0,
                "scale": 1e-4,
                "bands": [BandRef(name=n, wavelength_nm=w, fwhm_nm=width) for n, w in bands],
            }
            records.append(SpieRecord(kind="survey", **about))
        write_records(folder / f"survey_{sensor}.parquet", records)
    return folder


def config(data: Path, out: Path, **changes: Any) -> list[str]:
    """Arguments of ``train run`` for a small run in full precision."""
    values = {
        "data": str(data),
        "out": str(out),
        "model_size": "micro",
        "batch_size": 2,
        "crop_size": 64,
        "threads": 1,
        "max_minutes": 600,
        "precision": "fp32",
        "max_steps": 80,
        "source_weights": {},
        "eval_steps": 0,
        **changes,
    }
    return [
        str(ROOT / "train/configs/pretrain.yaml"),
        *(f"{k}={json.dumps(v)}" for k, v in values.items()),
    ]


def start(launch: list[str], arguments: list[str], **environment: str) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own."""
    full = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, *launch, "-m", "train", "run", *arguments], env=full, cwd=ROOT
    )


def rows(out: Path) -> list[dict[str, float]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def assert_same_losses(one: Path, other: Path, within: float) -> None:
    assert [row["step"] for row in rows(one)] == [row["step"] for row in rows(other)] != []
    for name in ("angle", "charbonnier"):
        a, b = ([row[name] for row in rows(out)] for out in (one, other))
        np.testing.assert_allclose(a, b, rtol=0, atol=within, err_msg=name)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    run_stage(load_settings(*_split(config(data, out, eval_steps=40, eval_records=4))))
    return out


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    return arguments[0], arguments[1:]


def test_it_learns_and_leaves_an_encoder_and_pictures(whole: Path, data: Path) -> None:
    found = rows(whole)
    assert found[-1]["charbonnier"] < 0.8 * found[0]["charbonnier"]
    assert SpecAwareEncoder.from_pretrained(whole / "checkpoint").config.fusion_dim > 0
    model = load_autoencoder(whole / "checkpoint")
    first, last = sorted((whole / "samples").iterdir())
    assert (first.name, last.name) == ("step_000040.png", "step_000080.png") and Image.open(
        last
    ).height > 2 * 224
    shown = example_images(survey_records(data), 64)
    assert [(len(one.pixels.bands), "validation" in one.title) for one in shown] == [
        (5, True),
        (50, True),
    ]
    for one in shown:
        reconstruction = reconstruct(model, one.pixels, 0.5)
        mine, visible = reconstruction.pixels, reconstruction.visible
        assert (
            mine.values.shape == one.pixels.values.shape
            and visible.mean() == 0.5
            and len(reconstruction.bands_seen) in (5, 24)
        )
        # Hidden pixels are reconstructed better than by one number for all bands and pixels.
        target = one.pixels.values[:, one.pixels.valid & ~visible]
        error = np.abs(mine.values[:, one.pixels.valid & ~visible] - target).mean()
        assert error < np.abs(target.mean() - target).mean()


def test_after_a_kill_it_resumes_exactly(whole: Path, data: Path, tmp_path: Path) -> None:
    arguments = config(data, tmp_path, save_minutes=0)
    first = start([], arguments)
    deadline = time.monotonic() + 300
    while len(rows(tmp_path)) < 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    done = json.loads((tmp_path / "checkpoint/training/state.json").read_text())["progress"]["step"]
    assert 0 < done < 80
    with pytest.raises(ConfigError, match=r"learning_rate=0\.001, not 0\.01"):
        run_stage(load_settings(*_split([*arguments, "learning_rate=0.01"])))
    with pytest.raises(ConfigError, match="max_steps=80, not 60"):
        run_stage(load_settings(*_split([*arguments, "max_steps=60"])))
    run_stage(load_settings(*_split(arguments)))
    assert_same_losses(whole, tmp_path, 1e-6)
    ends = [load_file(out / "checkpoint/training/weights.safetensors") for out in (whole, tmp_path)]
    # Not biases of attention keys: their gradient is rounding alone.
    assert all(
        torch.allclose(value, ends[1][name], atol=1e-5)
        for name, value in ends[0].items()
        if value.ndim > 1
    )
    (tmp_path / "checkpoint").rename(
        tmp_path / "checkpoint_000080"
    )  # as if stopped between two renames
    with pytest.raises(ConfigError, match="is finished"):
        run_stage(load_settings(*_split(arguments)))
    assert rows(tmp_path)[-1]["step"] == 80


def test_a_checkpoint_without_its_run_is_not_trained_over(data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ConfigError, match="has no training state to resume from"):
        run_stage(load_settings(*_split(config(data, tmp_path))))
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        run_stage(
            load_settings(
                *_split(config(data, tmp_path / "new", init_from=str(tmp_path / "checkpoint")))
            )
        )


@pytest.mark.parametrize(
    "wrong", [{"crop_size": 100}, {"crop_size": 16}, {"mask_ratio": 1.0}, {"mask_ratio": 60}]
)
def test_crops_of_part_cells_and_nothing_hidden_or_seen_are_refused(
    data: Path, tmp_path: Path, wrong: dict[str, float]
) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name}={wrong[name]}"):
        run_stage(load_settings(*_split(config(data, tmp_path, **wrong))))


def test_a_loss_that_is_not_finite_keeps_its_batch(data: Path, tmp_path: Path) -> None:
    arguments = config(data, tmp_path, learning_rate=10**30)
    with pytest.raises(
        ModelError, match=r"its batch is in .*not_finite_step_\d+_process_0\.safetensors"
    ):
        run_stage(load_settings(*_split(arguments)))
    (kept,) = tmp_path.glob("not_finite_*")
    step = int(kept.name.split("_")[3])
    images = load_images(survey_records(data))
    stream = PixelStream(images, image_probabilities(images, {}), 64, 2, 0.6, 0)
    tensors, again = load_file(kept), stream.draw(step, 0)
    assert torch.equal(tensors["target"], again.target) and torch.equal(
        tensors["values.0"], again.values[0]
    )
    assert torch.equal(
        tensors["bands.wavelength"].nan_to_num(), again.bands.wavelength.nan_to_num()
    )


def test_batches_depend_on_step_and_process_alone(data: Path) -> None:
    images = load_images(survey_records(data))
    stream = PixelStream(images, image_probabilities(images, {}), 64, 4, 0.6, 3)
    later, first, again, other = (stream.draw(*at) for at in ((7, 0), (0, 0), (7, 0), (7, 1)))
    assert torch.equal(later.target, again.target) and torch.equal(later.visible, again.visible)
    for batch in (first, other):
        assert batch.target.shape != later.target.shape or not torch.equal(
            batch.target, later.target
        )


def through(launcher: list[str], arguments: list[str], **environment: str) -> None:
    assert start(launcher, arguments, **environment).wait(timeout=400) == 0


def zero(stage: int) -> list[str]:
    launcher = ["-m", "accelerate.commands.launch", "--use_deepspeed", "--zero_stage", str(stage)]
    return [*launcher, "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes of DDP without a break."""
    out = tmp_path_factory.mktemp("together")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    through(launcher, config(data, out, max_steps=40), ACCELERATE_USE_CPU="true")
    return out


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_deepspeed_gives_what_ddp_gives_also_after_a_break(
    together: Path, data: Path, tmp_path: Path, stage: int
) -> None:
    arguments = config(data, tmp_path, max_steps=40, save_minutes=0)
    first = start(zero(stage), arguments)
    while not (tmp_path / "checkpoint").exists() and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)  # the launcher ends its processes
    first.wait(timeout=60)
    done = json.loads((tmp_path / "checkpoint/training/state.json").read_text())["progress"]["step"]
    assert done == 20
    through(zero(stage), arguments)
    assert_same_losses(together, tmp_path, 1e-3)
    a, b = (load_file(out / "checkpoint/model.safetensors") for out in (together, tmp_path))
    assert all(torch.allclose(a[name], b[name], atol=2e-3) for name in a)
    with pytest.raises(ConfigError, match="processes=2, not 1"):
        run_stage(load_settings(*_split(arguments)))
