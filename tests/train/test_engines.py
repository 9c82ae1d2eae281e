"""Stage ``instruct`` on two real processes: DDP and DeepSpeed give what one process gives, also after a break."""

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
from safetensors.torch import load_file

import spex
from spex.errors import ConfigError
from train.settings import load_settings
from train.stages import run_settings

ROOT = Path(__file__).parents[2]
DDP = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def zero(stage: int, *more: str) -> list[str]:
    launcher = ["-m", "accelerate.commands.launch", "--use_deepspeed", "--zero_stage", str(stage), *more]
    return [*launcher, "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]


def config(small: Path, out: Path, **changes: Any) -> tuple[str, list[str]]:
    values = {
        "data": str(small), "out": str(out), "start": str(small / "start"), "vision": str(small / "start"), "batch": 2,
        "crop": 32, "threads": 1, "minutes": 600, "precision": "fp32", "steps": 40, "weights": {}, "parts": {},
        "learning_rate": 1e-3, "save_minutes": 0, "validate": 0, "prior_dropout": 1.0, **changes,
    }  # fmt: skip
    return str(ROOT / "train/configs/instruct.yaml"), [f"{k}={json.dumps(v)}" for k, v in values.items()]


def start(launch: list[str], small: Path, out: Path, **changes: Any) -> subprocess.Popen[bytes]:
    """Start a run on two processes."""
    path, overrides = config(small, out, **changes)
    cpu = {} if "--use_deepspeed" in launch else {"ACCELERATE_USE_CPU": "true"}
    full = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **cpu}
    return subprocess.Popen([sys.executable, *launch, "-m", "train", "run", path, *overrides], env=full, cwd=ROOT)


def step_of(out: Path) -> int:
    path = out / "checkpoint/training/state.json"
    return int(json.loads(path.read_text())["progress"]["step"]) if path.exists() else 0


def killed_and_gone_on_with(launch: list[str], small: Path, out: Path, **changes: Any) -> None:
    """Kill the launcher and its processes after the first checkpoint; the run must still end."""
    first = start(launch, small, out, **changes)
    while not step_of(out) and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)  # the launcher ends its processes
    first.wait(timeout=60)
    assert 0 < step_of(out) < 40
    assert start(launch, small, out, **changes).wait(timeout=300) == 0


def assert_same_run(one: Path, other: Path) -> None:
    """The same losses within 1e-3 at every row, and the same weights to that in one process."""
    a, b = ([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, other))
    assert [row["step"] for row in a] == [row["step"] for row in b] == [20, 40]
    for row, mine in zip(a, b, strict=True):
        np.testing.assert_allclose(
            [row[n] for n in row if n != "minutes"], [mine[n] for n in row if n != "minutes"], atol=1e-3
        )
    weights = [load_file(out / "checkpoint/model.safetensors") for out in (one, other)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=5e-3) for name in weights[0])


@pytest.fixture(scope="module")
def alone(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that does in two parts what each of two processes would do in one."""
    out = tmp_path_factory.mktemp("alone")
    run_settings(load_settings(*config(small, out, accumulate=2)))
    return out


def test_ddp_gives_what_one_process_gives_also_after_a_kill(alone: Path, small: Path, tmp_path: Path) -> None:
    killed_and_gone_on_with(DDP, small, tmp_path)
    assert_same_run(alone, tmp_path)
    with pytest.raises(ConfigError, match=r"accumulate=1, not 2|processes=2, not 1"):
        run_settings(load_settings(*config(small, tmp_path, accumulate=2)))


@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
def test_deepspeed_gives_what_one_process_gives_also_after_a_kill(
    alone: Path, small: Path, tmp_path: Path, stage: int
) -> None:
    killed_and_gone_on_with(zero(stage), small, tmp_path)
    assert_same_run(alone, tmp_path)
    model = spex.load(str(tmp_path / "checkpoint"))
    assert model.extract(small / "scene_2.tif", "where is water?").answer
