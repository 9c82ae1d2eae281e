"""Stage ``instruct`` on two processes: every engine gives what one process gives.

This also holds after an interruption.
"""

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
from spex.model.config import make_config
from spex.model.spex import SpexModel
from train.run.distributed import recompute_activations
from train.settings_file import load_settings
from train.stages.launch import run_stage
from train.stages.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[3]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def zero(stage: int) -> list[str]:
    launcher = ["-m", "accelerate.commands.launch", "--use_deepspeed", "--zero_stage", str(stage)]
    return [*launcher, "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]


OFFLOAD = {
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": "train/configs/zero3_offload.json",
}
ENGINES: dict[str, tuple[list[str], dict[str, str]]] = {
    "DDP": (TORCHRUN, {"ACCELERATE_USE_CPU": "true"}),
    "FSDP": (TORCHRUN, {"ACCELERATE_USE_CPU": "true", "ACCELERATE_USE_FSDP": "true"}),
    "ZeRO-1": (zero(1), {}),
    "ZeRO-2": (zero(2), {}),
    "ZeRO-3": (zero(3), {}),
    "ZeRO-3 with offload": (TORCHRUN, OFFLOAD),
}


def config(small: Path, out: Path, **changes: Any) -> tuple[str, list[str]]:
    values = {
        "data": str(small),
        "out": str(out),
        "init_from": str(small / "start"),
        "vision_from": str(small / "start"),
        "batch_size": 2,
        "crop_size": 32,
        "threads": 1,
        "max_minutes": 600,
        "precision": "fp32",
        "max_steps": 40,
        "source_weights": {},
        "lr_scale": {},
        "learning_rate": 1e-3,
        "save_minutes": 0,
        "eval_steps": 0,
        "evidence_text_dropout": 1.0,
        "evidence_map_dropout": 1 / 3,
        **changes,
    }
    return str(ROOT / "train/configs/instruct.yaml"), [
        f"{k}={json.dumps(v)}" for k, v in values.items()
    ]


def start(engine: str, small: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a run on two processes."""
    launcher, environment = ENGINES[engine]
    path, overrides = config(small, out)
    full = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "train", "run", path, *overrides], env=full, cwd=ROOT
    )


def step_of(out: Path) -> int:
    path = out / "checkpoint/training/state.json"
    return int(json.loads(path.read_text())["progress"]["step"]) if path.exists() else 0


def assert_same_run(one: Path, other: Path) -> None:
    """The same losses within 1e-3 at every row, and the same weights to that in one process."""
    a, b = (
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        for out in (one, other)
    )
    assert [row["step"] for row in a] == [row["step"] for row in b] == [20, 40]
    for row, mine in zip(a, b, strict=True):
        np.testing.assert_allclose(
            [row[n] for n in row if n != "minutes"],
            [mine[n] for n in row if n != "minutes"],
            atol=1e-3,
        )
    weights = [load_file(out / "checkpoint/model.safetensors") for out in (one, other)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=5e-3) for name in weights[0])


@pytest.fixture(scope="module")
def alone(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that does in two parts what each of two processes would do in one."""
    out = tmp_path_factory.mktemp("alone")
    run_stage(load_settings(*config(small, out, gradient_accumulation_steps=2)))
    return out


@pytest.mark.parametrize(
    "engine",
    [pytest.param(name, marks=() if name == "DDP" else pytest.mark.slow) for name in ENGINES],
)
def test_two_processes_give_what_one_gives_also_after_a_kill(
    alone: Path, small: Path, tmp_path: Path, engine: str
) -> None:
    first = start(engine, small, tmp_path)
    while not step_of(tmp_path) and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)  # the launcher ends its processes
    first.wait(timeout=60)
    assert step_of(tmp_path) == 20
    assert start(engine, small, tmp_path).wait(timeout=300) == 0
    assert_same_run(alone, tmp_path)
    model = spex.load(str(tmp_path / "checkpoint"))
    assert model.extract(small / "scene_2.tif", "where is water?").answer
    with pytest.raises(ConfigError, match=r"gradient_accumulation_steps=1, not 2"):
        run_stage(load_settings(*config(small, tmp_path, gradient_accumulation_steps=2)))


def test_activations_computed_again_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = SpexModel(make_config("micro", train_tokenizer(["open water"] * 3, 700))).train()
    layers = model.language.model.layers
    calls: list[int] = []
    layers[0].self_attn.register_forward_hook(lambda *_: calls.append(1))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model.language(
            input_ids=torch.arange(12).view(2, 6) + 40, use_cache=False
        ).logits.square().mean().backward()
        return [p.grad.clone() for p in model.language.parameters()]

    plain = gradients()
    assert len(calls) == 1
    recompute_activations(model)
    again = gradients()
    assert len(calls) == 3  # forwards, and once more on the way back
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b)
