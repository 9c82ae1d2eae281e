"""The training loop of every stage: optimiser steps, logs, validations, checkpoints.

A batch depends on the seed, its step and its part of the step alone, and random numbers within the
model are seeded by the same. So an interrupted run resumes exactly. What distributes a run is in
:mod:`train.run.distributed`.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from spex.errors import ModelError
from train.data.batches import save_batch, to_device
from train.data.random_state import rng_at
from train.run import resume
from train.run.checkpoints import STATE, install_checkpoint, keep_as_best, writing
from train.run.distributed import (
    MAX_GRADIENT_NORM,
    full_parameters,
    main_process_value,
    make_accelerator,
    recompute_activations,
    resolve_precision,
    single_process,
)
from train.run.logger import LogRow, RunLogger
from train.run.optimizer import make_optimizer, set_learning_rate
from train.run.prefetch import DrawBatch, deaths_of_workers_told, prefetched_batches
from train.settings import LOG_EVERY, StageSettings
from train.settings_file import save_settings

logger = logging.getLogger(__name__)

LossTerms = dict[str, Tensor]


@dataclass(frozen=True)
class Validation:
    """How and when a stage measures its checkpoints on validation places.

    Attributes:
        measure: Gives the scores of a checkpoint folder. Samples of what it makes of a few records
            go to the second path, which lacks a suffix, with .png or .md.
        score: Name of the score by which the best checkpoint is chosen.
        higher_is_better: Whether a higher score is better.
        every: Optimiser steps between validations.
        patience: Validations without a new best after which the run ends; 0 for never.
    """

    measure: Callable[[Path, Path], dict[str, float]]
    score: str
    higher_is_better: bool
    every: int
    patience: int = 0


def run(
    settings: StageSettings,
    model: nn.Module,
    draw: DrawBatch,
    loss_of: Callable[[nn.Module, Any], LossTerms],
    save: Callable[[Path], None],
    *,
    validation: Validation | None = None,
    workers: int = 1,
) -> list[LogRow]:
    """Train until a budget or the patience is used up; resume where ``settings.out`` left off.

    Args:
        settings: Of the stage.
        model: What is trained.
        draw: Draws the batch of a step and of a part of the step; parts are numbered across all
            processes.
        loss_of: Gives the loss terms of a batch, which ``settings.loss_weights`` weight here.
        save: Writes a checkpoint of the model into a folder.
        validation: How to measure checkpoints; None does not.
        workers: Processes that draw batches ahead.

    Returns:
        One row per ``LOG_EVERY`` steps, means over these and over processes, as in ``log.jsonl``.

    Raises:
        ModelError: The loss or its gradient is no longer finite; the batch is kept beside the log.
        ConfigError: ``settings.out`` has a finished run, or one with other settings or of another
            version.
        TrainingError: A process that draws batches died.
        OutputError: A checkpoint or log could not be written; the last checkpoint is complete.
    """
    with deaths_of_workers_told():
        return _Run(settings, model, draw, loss_of, save, validation, workers).train()


class _Run:
    """State of a run in one process."""

    def __init__(
        self,
        settings: StageSettings,
        model: nn.Module,
        draw: DrawBatch,
        loss_of: Callable[[nn.Module, Any], LossTerms],
        save: Callable[[Path], None],
        validation: Validation | None,
        workers: int,
    ) -> None:
        torch.set_num_threads(settings.threads)
        self.accelerator = make_accelerator(settings)
        precision = resolve_precision(settings, self.accelerator.device)
        self.settings = replace(settings, precision=precision)
        self.out = Path(settings.out)
        self.draw = draw
        self.loss_of = loss_of
        self.save = save
        self.validation = validation
        self.patience = validation.patience if validation else 0
        self.workers = workers
        self.unprepared_model = model
        self._prepare(model)

    def _prepare(self, model: nn.Module) -> None:
        """Find the training state, and hand model and optimiser to accelerate."""
        settings = self.settings
        self.progress, state = resume.find_training_state(
            self.out, settings, self.accelerator, self.patience
        )
        self.saved_progress = self.progress
        self.saved_is_validated = False
        if state:
            logger.warning("resuming %s at step %d", self.out, self.progress.step)
            resume.load_weights(model, state)
        if settings.gradient_checkpointing:
            recompute_activations(model)
        optimizer = make_optimizer(model, settings)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        if state:
            resume.load_moments(self.optimizer, state, self.accelerator)
        if self.accelerator.is_main_process:
            save_settings(settings, self.out)
            if state and self.progress.best_step == self.progress.step:
                # A kill may have come after the checkpoint and before it was kept as the best.
                keep_as_best(state.parent, self.out)
        self.accelerator.wait_for_everyone()

    def train(self) -> list[LogRow]:
        """Train; return the log."""
        settings = self.settings
        self.model.train()
        loss_values: dict[str, list[float]] = {}
        start_time = 0.0
        main = self.accelerator.is_main_process
        with RunLogger(self.out, self.progress.step, main, settings.stage) as run_logger:
            for batches in self._batches_by_step():
                if not start_time:  # the budget starts with the first batch
                    start_time = time.monotonic() - 60 * self.progress.minutes
                minutes = main_process_value((time.monotonic() - start_time) / 60, self.accelerator)
                self.progress = replace(self.progress, minutes=minutes)
                if self.progress.is_finished(settings, self.patience):
                    break
                done = max(self.progress.step / settings.max_steps, minutes / settings.max_minutes)
                self._step(batches, done, loss_values)
                self.progress = replace(self.progress, step=self.progress.step + 1)
                run_logger.show_progress(done, self.progress.step)
                if self.progress.step % LOG_EVERY == 0:
                    self._log(run_logger, loss_values)
                    loss_values = {}
                    self._save_if_due(run_logger)
            unsaved = self.saved_progress.step != self.progress.step
            if unsaved or not self.saved_is_validated:
                self._save_checkpoint(run_logger, validate=self.validation is not None)
        return run_logger.rows["log"]

    def _batches_by_step(self) -> Iterator[list[tuple[int, Any]]]:
        """The batches of every step to come, each with the number of its part.

        Parts are numbered across all processes, so two parts in one process are the same run as
        one part in each of two.
        """
        count = self.settings.gradient_accumulation_steps
        first = self.accelerator.process_index * count
        parts = range(first, first + count)
        steps = range(self.progress.step, self.settings.max_steps)
        keys = [(step, part) for step in steps for part in parts]
        batches = prefetched_batches(self.draw, keys, self.workers)
        for _ in steps:
            yield [(part, next(batches)) for part in parts]

    def _step(
        self, batches: list[tuple[int, Any]], done: float, loss_values: dict[str, list[float]]
    ) -> None:
        """Do one optimiser step.

        Args:
            batches: The batches of this process, each with the number of its part.
            done: Share of the budget used before the step.
            loss_values: Takes the values of the loss terms.
        """
        accelerator = self.accelerator
        set_learning_rate(self.optimizer, done)
        for part, batch in batches:
            rng = rng_at(self.settings.seed, self.progress.step, part)
            torch.manual_seed(int(rng.integers(2**63)))
            with accelerator.accumulate(self.model):
                terms = self._loss_terms(batch)
                loss = torch.stack(
                    [self._loss_weight(name) * term for name, term in terms.items()]
                ).sum()
                self._require_finite("loss", loss.detach(), batch)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
                    self._require_finite("norm of the gradient", norm, batch)
                self.optimizer.step()
                self.optimizer.zero_grad()
            values = torch.stack([*terms.values()]).tolist()
            for name, value in zip(terms, values, strict=True):
                loss_values.setdefault(name, []).append(value)

    def _loss_terms(self, batch: Any) -> LossTerms:
        device = self.accelerator.device
        bfloat16 = self.settings.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            return self.loss_of(self.model, to_device(batch, device))

    def _loss_weight(self, name: str) -> float:
        return self.settings.loss_weights.get(name, 1.0)

    def _require_finite(self, name: str, value: Tensor | float | None, batch: Any) -> None:
        """Check a value; if it is not finite, keep the batch, as tensors by name.

        Raises:
            ModelError: It is not finite.
        """
        if value is None or math.isfinite(value):
            return
        process = self.accelerator.process_index
        path = self.out / f"not_finite_step_{self.progress.step}_process_{process}.safetensors"
        save_batch(batch, path)
        raise ModelError(
            f"the {name} is {float(value)}; its batch is in {path}; start again in another out "
            f"with a lower learning_rate than {self.settings.learning_rate:g}"
        )

    def _log(self, run_logger: RunLogger, loss_values: dict[str, list[float]]) -> None:
        """Add a row of means over steps and processes to the log."""
        means = _means(gather_object([loss_values]))
        minutes = round(self.progress.minutes, 2)
        run_logger.add_row("log", {"step": self.progress.step, "minutes": minutes, **means})

    def _save_if_due(self, run_logger: RunLogger) -> None:
        """Write a checkpoint if a validation is due, or the last checkpoint is too old."""
        step = self.progress.step
        if step >= self.settings.max_steps:  # the last checkpoint follows anyway
            return
        validate = self.validation is not None and step % self.validation.every == 0
        age = self.progress.minutes - self.saved_progress.minutes
        if validate or age > self.settings.save_minutes:
            self._save_checkpoint(run_logger, validate)

    def _save_checkpoint(self, run_logger: RunLogger, validate: bool) -> None:
        """Write checkpoint and training state, measure it if wanted, then make it the newest."""
        accelerator = self.accelerator
        main = accelerator.is_main_process
        folder = self.out / "checkpoint.part"
        state = folder / STATE
        with writing(folder):
            with full_parameters(self.unprepared_model, accelerator):
                if main:
                    shutil.rmtree(folder, ignore_errors=True)
                    self.save(folder)
                    resume.save_weights(self.unprepared_model, state)
            accelerator.wait_for_everyone()
            resume.save_moments(self.optimizer, state, accelerator)
        if validate:
            self._validate(folder, run_logger)
        accelerator.wait_for_everyone()
        if main:
            with writing(folder):
                resume.save_progress(self.progress, self.settings, accelerator, state)
            checkpoint = install_checkpoint(
                folder, self.out, self.settings.keep_checkpoints, self.saved_progress.step
            )
            if self.progress.best_step == self.progress.step:
                keep_as_best(checkpoint, self.out)
        accelerator.wait_for_everyone()
        self.saved_progress = self.progress
        self.saved_is_validated = validate or self.validation is None

    def _validate(self, checkpoint: Path, run_logger: RunLogger) -> None:
        """Measure a checkpoint in the main process, and remember whether it is the best."""
        assert self.validation is not None
        step = self.progress.step
        score = 0.0
        if self.accelerator.is_main_process:
            (self.out / "samples").mkdir(exist_ok=True)
            stem = self.out / "samples" / f"step_{step:06d}"
            with single_process(self.accelerator):
                scores = self.validation.measure(checkpoint, stem)
            run_logger.add_row("validation", {"step": step, **scores})
            run_logger.add_samples(stem, step)
            score = scores[self.validation.score]
        score = main_process_value(score, self.accelerator)
        self.progress = self.progress.after_validation(score, self.validation.higher_is_better)


def _means(values_by_process: list[dict[str, list[float]]]) -> dict[str, float]:
    """Means of the loss terms over steps and processes, in the order of the terms."""
    values: dict[str, list[float]] = {}
    for loss_values in values_by_process:
        for name, term_values in loss_values.items():
            values.setdefault(name, []).extend(term_values)
    return {name: round(sum(items) / len(items), 7) for name, items in values.items()}
