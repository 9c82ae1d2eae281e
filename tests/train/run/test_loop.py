"""The loop on a model of a few weights: accumulation, validation, checkpoints, failures."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from spex.errors import ConfigError, OutputError, RecordError, TrainingError
from train.data.random_state import rng_at
from train.run.loop import Validation, run
from train.settings import MaskSettings

SCORES = [0.1, 0.3, 0.2, 0.4]


def settings(out: Path, **changes: Any) -> MaskSettings:
    values = {
        "max_steps": 80,
        "batch_size": 8,
        "max_minutes": 600.0,
        "precision": "fp32",
        "learning_rate": 0.1,
        "threads": 1,
    }
    values |= changes
    return MaskSettings(data="none", out=str(out), save_minutes=0.0, **values)  # type: ignore[arg-type]


def batch(number: int, size: int) -> Tensor:
    return torch.from_numpy(rng_at(0, number, 0).normal(size=(size, 8)).astype(np.float32))


def train(
    about: MaskSettings,
    scores: list[float] | None = None,
    draw: Callable[[int, int], Tensor] | None = None,
    *,
    noise: float = 0.1,
    slow: float = 0.0,
    workers: int = 0,
) -> nn.Module:
    """Fit a line with some noise in the forward pass.

    Args:
        about: Settings of the run.
        scores: Scores of the validations, one after the other.
        draw: Draws a batch; None draws from the step alone.
        noise: Share of the hidden values that is dropped.
        slow: Seconds to write each weight.
        workers: Processes that draw batches.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Dropout(noise), nn.Linear(4, 1))

    def save(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, weight in model.state_dict().items():
            save_file({name: weight}, folder / f"{name}.safetensors")
            time.sleep(slow)

    def look(folder: Path, stem: Path) -> dict[str, float]:
        Image.new("RGB", (8, 8), "red").save(stem.with_suffix(".png"))
        stem.with_suffix(".md").write_text("all red")
        return {
            "iou": (scores or [0.0])[int(stem.name.split("_")[1]) // about.eval_steps - 1],
            "other": 1.0,
        }

    def loss(part: nn.Module, one: Tensor) -> dict[str, Tensor]:
        return {"bce": (part(one) - one.sum(1, keepdim=True)).square().mean()}

    validation = Validation(look, "iou", True, about.eval_steps, about.early_stopping_patience)
    run(
        about,
        model,
        draw or (lambda n, _: batch(n, about.batch_size)),
        loss,
        save,
        validation=validation if about.eval_steps else None,
        workers=workers,
    )
    return model


def rows(out: Path, name: str = "log") -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "training/state.json").read_text())["progress"]


def same(one: nn.Module, other: nn.Module, within: float) -> bool:
    return all(
        torch.allclose(a, b, rtol=0, atol=within)
        for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )


def assert_ends_as(out: Path, whole: nn.Module) -> None:
    """Up to rounding: memory that another process shares can be aligned otherwise."""
    end = load_file(out / "checkpoint/training/weights.safetensors")
    for name, weight in whole.named_parameters():
        torch.testing.assert_close(end[name], weight.detach(), rtol=0, atol=1e-5)


def assert_logs_as(out: Path, whole: Path) -> None:
    """Up to rounding: a child process sums with other threads than its parent."""
    for name in ("log", "validation"):
        for mine, theirs in zip(rows(out, name), rows(whole, name), strict=True):
            assert mine | {"minutes": 0} == pytest.approx(theirs | {"minutes": 0}, rel=1e-5)


def test_two_parts_of_four_move_the_weights_as_eight_at_once(tmp_path: Path) -> None:
    whole = train(settings(tmp_path / "whole"), noise=0.0)
    halves = train(
        settings(tmp_path / "halves", batch_size=4, gradient_accumulation_steps=2),
        draw=lambda n, part: batch(n, 8)[part::2],
        noise=0.0,
    )
    assert same(whole, halves, 1e-5)
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "halves"), strict=True):
        assert abs(a["bce"] - b["bce"]) < 1e-5 and a["step"] == b["step"]
    alone = train(
        settings(tmp_path / "alone", batch_size=4), draw=lambda n, _: batch(n, 8)[::2], noise=0.0
    )
    assert not same(whole, alone, 1e-2)


def test_checkpoints_rotate_and_the_best_stays(tmp_path: Path) -> None:
    train(
        settings(tmp_path, max_steps=120, eval_steps=20, keep_checkpoints=3),
        [0.1, 0.5, 0.3, 0.2, 0.4, 0.4],
    )
    assert sorted(p.name for p in tmp_path.glob("checkpoint*")) == [
        "checkpoint",
        "checkpoint_000080",
        "checkpoint_000100",
    ]
    assert [
        state(tmp_path / name)["step"]
        for name in ("checkpoint_000080", "checkpoint_000100", "checkpoint")
    ] == [
        80,
        100,
        120,
    ]
    assert state(tmp_path / "checkpoint") | {"minutes": 0} == {
        "step": 120,
        "minutes": 0,
        "best": 0.5,
        "best_step": 40,
        "stale": 4,
    }
    assert [row["iou"] for row in rows(tmp_path, "validation")] == [0.1, 0.5, 0.3, 0.2, 0.4, 0.4]
    again = train(
        settings(tmp_path / "short", max_steps=120, eval_steps=20, early_stopping_patience=1),
        [0.1, 0.5, 0.3],
    )
    kept = load_file(tmp_path / "best/0.weight.safetensors")["0.weight"]
    assert not torch.equal(kept, again[0].weight) and not (tmp_path / "best/training").exists()
    assert torch.equal(kept, load_file(tmp_path / "short/best/0.weight.safetensors")["0.weight"])
    assert state(tmp_path / "short/checkpoint")["step"] == 60  # patience was used up


def test_a_run_out_of_patience_is_finished_until_it_is_given_more(tmp_path: Path) -> None:
    scores = [0.5, 0.4, 0.6, 0.5, 0.4]
    train(settings(tmp_path, max_steps=100, eval_steps=20, early_stopping_patience=1), scores)
    with pytest.raises(ConfigError, match=r"finished .40 steps, .* 1 validations after the best"):
        train(settings(tmp_path, max_steps=100, eval_steps=20, early_stopping_patience=1), scores)
    train(settings(tmp_path, max_steps=100, eval_steps=20, early_stopping_patience=2), scores)
    whole = train(
        settings(tmp_path / "whole", max_steps=100, eval_steps=20, early_stopping_patience=2),
        scores,
    )
    assert_logs_as(tmp_path, tmp_path / "whole")
    assert state(tmp_path / "checkpoint")["best_step"] == 60
    assert_ends_as(tmp_path, whole)


def test_curves_pictures_and_texts_are_in_tensorboard(tmp_path: Path) -> None:
    train(
        settings(tmp_path, max_steps=60, eval_steps=20, early_stopping_patience=1), [0.5, 0.4, 0.6]
    )
    time.sleep(1.1)  # tensorboard orders its files by the second they were opened in
    train(
        settings(tmp_path, max_steps=60, eval_steps=20, early_stopping_patience=2), [0.5, 0.4, 0.6]
    )
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("training/bce")] == [20, 40, 60]
    assert [round(event.value, 3) for event in board.Scalars("validation/iou")] == [0.5, 0.4, 0.6]
    assert [event.step for event in board.Images("samples")] == [20, 40, 60]
    assert b"all red" in board.Tensors("samples/text_summary")[0].tensor_proto.string_val[0]


def test_a_run_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    train(settings(tmp_path, max_steps=20))
    path = tmp_path / "checkpoint/training/state.json"
    old = json.loads(path.read_text())
    path.write_text(json.dumps({**old, "format": 99}))
    with pytest.raises(
        ConfigError, match=r"of another version .format 99; this version reads 3.; give another out"
    ):
        train(settings(tmp_path, max_steps=40))


def test_a_process_that_draws_batches_and_dies_is_one_clear_error_to_go_on_from(
    tmp_path: Path,
) -> None:
    about = settings(tmp_path, batch_size=8)

    def draw(number: int, _: int) -> Tensor:
        if number == 50 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(number, 8)

    with pytest.raises(
        TrainingError, match=r"a worker process that draws batches died .*, possibly out of memory"
    ):
        train(about, draw=draw, workers=1)
    train(about, draw=draw, workers=1)
    whole = train(settings(tmp_path / "whole"))
    assert_ends_as(tmp_path, whole)


def test_a_worker_that_dies_while_the_model_trains_is_told_as_well(tmp_path: Path) -> None:
    def draw(number: int, _: int) -> Tensor:
        (tmp_path / "worker").write_text(str(os.getpid()))
        return batch(number, 8)

    def kill_and_wait(part: nn.Module, one: Tensor) -> dict[str, Tensor]:
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)
        time.sleep(5)  # the signal of its death comes here
        return {"bce": part(one).square().mean()}

    about = settings(tmp_path, batch_size=8)
    with pytest.raises(TrainingError, match=r"a worker process that draws batches died"):
        run(about, nn.Linear(8, 1), draw, kill_and_wait, Path.mkdir, workers=1)


def test_a_bad_record_met_by_another_process_is_told_in_its_own_words(tmp_path: Path) -> None:
    def draw(number: int, _: int) -> Tensor:
        raise RecordError("a.tif is missing; build the data again")

    with pytest.raises(RecordError) as caught:
        train(settings(tmp_path), draw=draw, workers=1)
    assert str(caught.value) == "a.tif is missing; build the data again"


def test_a_full_disk_is_one_clear_error_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    def draw(number: int, _: int) -> Tensor:
        if number == 45:  # after the checkpoint of step 40
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
        return batch(number, 8)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # the kernel refuses to write more into a file, as on a full disk
        with pytest.raises(
            OutputError, match=r"cannot write .*: .*File too large.*; free some space"
        ):
            train(settings(tmp_path), draw=draw)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (
        state(tmp_path / "checkpoint")["step"] == 40 and not (tmp_path / "checkpoint.part").exists()
    )
    train(settings(tmp_path))
    whole = train(settings(tmp_path / "whole"))
    assert_ends_as(tmp_path, whole)


def test_a_kill_at_any_moment_leaves_a_run_to_go_on_with(tmp_path: Path) -> None:
    out, halfway = tmp_path / "killed", 0
    about = settings(out, eval_steps=20, keep_checkpoints=2)
    for moment in (0.0, 0.2, 0.5, 0.7):  # a checkpoint takes 0.4 s to write, 20 steps far less
        child = get_context("fork").Process(
            target=train, args=(about, SCORES), kwargs={"slow": 0.1}
        )
        child.start()
        while child.is_alive() and not (out / "checkpoint.part").exists():
            time.sleep(0.002)
        child.join(moment)
        child.kill()
        child.join()
        if (out / "checkpoint.part").exists():
            halfway += 1
            shutil.rmtree(
                out / "checkpoint.part"
            )  # tells when it writes again; the loop needs no help
    assert halfway
    (out / "checkpoint.part").mkdir()
    train(about, SCORES)
    train(settings(tmp_path / "whole", eval_steps=20, keep_checkpoints=2), SCORES)
    assert_logs_as(out, tmp_path / "whole")
    for name in ("checkpoint", "checkpoint_000060", "best"):
        paths = list((tmp_path / "whole" / name).glob("*.safetensors"))
        assert paths
        for path in paths:
            torch.testing.assert_close(
                load_file(out / name / path.name), load_file(path), rtol=0, atol=1e-5
            )
    assert state(out / "checkpoint")["best_step"] == 80
