"""The loop every stage shares: AdamW, a cosine over the budget, logs, validations, checkpoints to go on from.

A batch is drawn from the seed, its step and its process alone, and chance within the model is seeded by the same: a
run that was stopped goes on as if it had not been. What it runs on is told in :mod:`train.run.distributed`.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from spex.errors import ModelError, SpexError, TrainingError
from train.data.batches import save_batch, to_device
from train.data.random_state import rng_at
from train.run import checkpoints, resume
from train.run import distributed as engines
from train.run.logger import Row, RunLogger
from train.settings import LOG_EVERY, StageSettings
from train.settings_file import save_settings

logger = logging.getLogger(__name__)
_WARM_UP = 0.03


@dataclass(frozen=True)
class Validation:
    """How a stage looks at a checkpoint it has written.

    Attributes:
        look: scores of a checkpoint's folder; samples of what it makes of a few images go to a path without ending,
            plus .png or .md.
        by: the score that tells the best checkpoint. higher: whether more of it is better.
    """

    look: Callable[[Path, Path], dict[str, float]]
    by: str
    higher: bool
    every: int
    patience: int


class _Draws(Dataset[Any]):
    """Batches by step and number."""

    def __init__(self, draw: Callable[[int, int], Any]) -> None:
        self.draw = draw

    def __getitem__(self, place: tuple[int, int]) -> Any:
        return self.draw(*place)


def parameter_groups(model: nn.Module, settings: StageSettings) -> list[dict[str, Any]]:
    """Parameters by learning-rate factor and weight decay (none on vectors); factor 0 freezes, frozen stays frozen."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = settings.lr_scale.get(name.removeprefix("model.").split(".")[0], 1.0)
        if factor <= 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {
            "params": found,
            "lr": settings.learning_rate * factor,
            "weight_decay": decay,
            "peak": settings.learning_rate * factor,
        }
        for (factor, decay), found in groups.items()
    ]


def run(
    settings: StageSettings,
    model: nn.Module,
    draw: Callable[[int, int], Any],
    loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
    save: Callable[[Path], None],
    *,
    validation: Validation | None = None,
    workers: int = 1,
) -> list[Row]:
    """Train until a budget or the patience is used up, from where ``settings.out`` has come to; return the log.

    Args:
        draw: the batch of a step and of a process (of a part of the step, where processes have several).
        loss_of: loss terms of a batch, weighted here by ``settings.loss_weights``.
        save: writes a checkpoint into a folder. validation: how to look at one, every ``settings.eval_steps`` steps.
        workers: processes that draw batches.

    Returns:
        one row per ``LOG_EVERY`` steps, means over these and over processes; also in ``log.jsonl``.

    Raises:
        ModelError: the loss or its gradient stopped being finite; the batch is kept beside the log.
        ConfigError: ``settings.out`` holds a finished run, or one with other settings or of another version.
        TrainingError: a process that draws batches died.
        OutputError: a checkpoint or a log could not be written; the last checkpoint is whole.
    """
    return _Run(settings, model, draw, loss_of, save, validation, workers).go()


class _Run:
    """State of a run."""

    def __init__(
        self,
        settings: StageSettings,
        model: nn.Module,
        draw: Callable[[int, int], Any],
        loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
        save: Callable[[Path], None],
        validation: Validation | None,
        workers: int,
    ) -> None:
        torch.set_num_threads(settings.threads)
        self.validation = validation
        self.patience = validation.patience if validation else 0
        self.accelerator = engines.accelerator(settings)
        settings = replace(settings, precision=engines.precision(settings, self.accelerator.device))
        self.settings, self.draw, self.loss_of, self.save, self.workers = (
            settings,
            draw,
            loss_of,
            save,
            workers,
        )
        self.out, self.process = Path(settings.out), self.accelerator.process_index
        self.progress, state = resume.find(self.out, settings, self.accelerator, self.patience)
        self.kept, self.validated = self.progress, False
        if state:
            logger.warning("going on with %s at step %d", self.out, self.progress.step)
            resume.load_weights(model, state)
        if settings.gradient_checkpointing:
            engines.recompute_activations(model)
        optimizer = torch.optim.AdamW(
            parameter_groups(model, settings), betas=(0.9, 0.98), fused=True
        )
        self.plain = model
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        if state:
            resume.load_moments(self.optimizer, state, self.accelerator)
        if self.accelerator.is_main_process:
            save_settings(settings, self.out)
            if (
                state and self.progress.best_step == self.progress.step
            ):  # a kill may have come before it was kept
                checkpoints.promote(state.parent, self.out)
        self.accelerator.wait_for_everyone()

    def go(self) -> list[Row]:
        """Train; return the log."""
        settings, sums = self.settings, dict[str, list[float]]()
        self.model.train()
        began = 0.0
        with RunLogger(
            self.out, self.progress.step, self.accelerator.is_main_process, settings.stage
        ) as watch:
            for parts in self._parts():
                began = (
                    began or time.monotonic() - 60 * self.progress.minutes
                )  # with the first batch
                minutes = engines.of_main((time.monotonic() - began) / 60, self.accelerator)
                self.progress = replace(self.progress, minutes=minutes)
                if self.progress.ended(settings, self.patience):
                    break
                done = max(self.progress.step / settings.max_steps, minutes / settings.max_minutes)
                self._step(parts, done, sums)
                step = self.progress.step + 1
                self.progress = replace(self.progress, step=step)
                watch.show(done, step)
                if step % LOG_EVERY:
                    continue
                watch.add(
                    "log",
                    {"step": step, "minutes": round(minutes, 2), **_means(gather_object([sums]))},
                )
                sums = {}
                due = self.validation is not None and step % self.validation.every == 0
                if step < settings.max_steps and (
                    due or minutes - self.kept.minutes > settings.save_minutes
                ):
                    self._keep(watch, due)
            if self.kept.step != self.progress.step or not self.validated:
                self._keep(watch, self.validation is not None)
        return watch.logs["log"]

    def _parts(self) -> Iterator[list[tuple[int, Any]]]:
        """The batches of every step to come, each with the number of its part among those of all processes.

        So two parts in one process are the same run as one part in each of two.
        """
        first = self.process * self.settings.gradient_accumulation_steps
        numbers = range(first, first + self.settings.gradient_accumulation_steps)
        steps = range(self.progress.step, self.settings.max_steps)
        batches = self._batches([(step, number) for step in steps for number in numbers])
        for _ in steps:
            yield [(number, next(batches)) for number in numbers]

    def _batches(self, places: Sequence[tuple[int, int]]) -> Iterator[Any]:
        """Batches by step and number, drawn ahead by other processes.

        Raises:
            TrainingError: one of these died.
            SpexError: as one of these raised it.
        """
        ahead = {"prefetch_factor": 4} if self.workers else {}
        draws = _Draws(self.draw)
        try:
            yield from DataLoader(
                draws, batch_size=None, sampler=places, num_workers=self.workers, **ahead
            )
        except SpexError as error:  # comes with the other process's traceback
            raise type(error)(
                str(error).strip().rpartition("\n")[2].partition(": ")[2] or str(error)
            ) from error
        except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
            if str(error).startswith("Caught ") or (
                type(error) is RuntimeError and "DataLoader" not in str(error)
            ):
                raise  # its own failure, or one of this process
            raise TrainingError(
                f"a process that draws batches died ({str(error) or type(error).__name__}), perhaps for want of "
                f"memory; start again, the run goes on from step {self.kept.step}"
            ) from error

    def _step(
        self, parts: list[tuple[int, Any]], done: float, sums: dict[str, list[float]]
    ) -> None:
        """One step of the optimiser; ``done`` is the share of the budget before it, ``sums`` takes the loss terms."""
        settings, accelerator = self.settings, self.accelerator
        factor = (
            min(1.0, done / _WARM_UP + 0.01) * (0.5 + 0.5 * math.cos(math.pi * done)) * 0.98 + 0.02
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        for number, batch in parts:
            torch.manual_seed(
                int(rng_at(settings.seed, self.progress.step, number).integers(2**63))
            )
            with accelerator.accumulate(self.model):
                with torch.autocast(
                    accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16"
                ):
                    terms = self.loss_of(self.model, to_device(batch, accelerator.device))
                loss = torch.stack(
                    [settings.loss_weights.get(name, 1.0) * term for name, term in terms.items()]
                ).sum()
                self._require_finite("loss", loss.detach(), batch)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), engines.CLIP)
                    self._require_finite("norm of the gradient", norm, batch)
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in zip(terms, torch.stack([*terms.values()]).tolist(), strict=True):
                sums.setdefault(name, []).append(value)

    def _require_finite(self, what: str, value: Tensor | float | None, batch: Any) -> None:
        """Else keep the batch, as tensors by name, and say where it is."""
        if value is None or math.isfinite(value):
            return
        path = self.out / f"not_finite_step_{self.progress.step}_process_{self.process}.safetensors"
        save_batch(batch, path)
        raise ModelError(
            f"the {what} is {float(value)}; its batch is in {path}; begin again in another out "
            f"with a lower learning_rate than {self.settings.learning_rate:g}"
        )

    def _keep(self, watch: RunLogger, validate: bool) -> None:
        """Write a checkpoint and the state of the run aside, look at it, and put it in the place of the last."""
        accelerator, aside = self.accelerator, self.out / "checkpoint.part"
        main, state = accelerator.is_main_process, aside / checkpoints.STATE
        with checkpoints.writing(aside):
            with engines.whole(self.plain, accelerator):
                if main:
                    shutil.rmtree(aside, ignore_errors=True)
                    self.save(aside)
                    resume.save_weights(self.plain, state)
            accelerator.wait_for_everyone()
            resume.save_moments(self.optimizer, state, accelerator)
        if validate:
            self._validate(aside, watch)
        accelerator.wait_for_everyone()
        if main:
            with checkpoints.writing(aside):
                resume.save_progress(self.progress, self.settings, accelerator, state)
            target = checkpoints.install(
                aside, self.out, self.settings.keep_checkpoints, self.kept.step
            )
            if self.progress.best_step == self.progress.step:
                checkpoints.promote(target, self.out)
        accelerator.wait_for_everyone()
        self.kept, self.validated = self.progress, validate or self.validation is None

    def _validate(self, checkpoint: Path, watch: RunLogger) -> None:
        """Measure a checkpoint, draw samples, and remember whether it is the best."""
        assert self.validation is not None
        step, value = self.progress.step, 0.0
        if self.accelerator.is_main_process:
            with engines.alone(self.accelerator):
                (self.out / "samples").mkdir(exist_ok=True)
                stem = self.out / "samples" / f"step_{step:06d}"
                scores = self.validation.look(checkpoint, stem)
            watch.add("validation", {"step": step, **scores})
            watch.add_samples(stem, step)
            value = scores[self.validation.by]
        value = engines.of_main(value, self.accelerator)
        self.progress = self.progress.measured(value, self.validation.higher)


def _means(sums: list[dict[str, list[float]]]) -> dict[str, float]:
    """Means of the terms over steps and processes, in the order they came."""
    values = {
        name: [v for part in sums for v in part.get(name, [])] for part in sums for name in part
    }
    return {name: round(sum(found) / len(found), 7) for name, found in values.items()}
