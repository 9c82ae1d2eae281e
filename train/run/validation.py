"""Validation of a run: its checkpoints, loaded as a user would load them, on validation places.

Reading the written checkpoint costs a second or two and works under every way to distribute a run.
One process measures while the others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from spex.errors import AnswerError, RecordError
from spex.evaluate import Case, Method, PredictorMethod, cases
from spex.evidence.classes import classes
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.records import SpieRecord
from spex.results.picture_sheet import Panel, picture_sheet
from spex.results.rendering import overlay, rgb_image
from spex.scores import Tally
from train.data.record_folder import RecordFolder
from train.data.training_chips import CLASS_NAMES
from train.run.loop import Validation
from train.settings import ValidatedSettings

ProbabilityMaps = Mapping[str, NDArray[np.float32] | None]
"""Probability maps (h, w) by name of the target; None where the method gives none."""
Batch = TypeVar("Batch")

_CASES_SHOWN = 4


def mask_validation(
    settings: ValidatedSettings, method_of: Callable[[ModelPredictor, Path], Method]
) -> Validation | None:
    """Measure IoU per class, and their mean as ``iou``, on records of validation places.

    Args:
        settings: Of the stage; without ``eval_steps`` there is no validation.
        method_of: Gives a method to predict masks, from a checkpoint's predictor and its folder.

    Raises:
        RecordError: There is no record of a validation place.
    """
    if not settings.eval_steps:
        return None
    eval_cases = list(cases(validation_records(settings.data, settings.eval_records)))

    def measure(checkpoint: Path, stem: Path) -> dict[str, float]:
        predictor = load(checkpoint)
        method = method_of(predictor, checkpoint)
        tallies: dict[str, Tally] = {}
        rows = []
        for number, case in enumerate(eval_cases):
            maps = method(case)
            for target in case.targets:
                tally = tallies.setdefault(target.class_name, Tally())
                tally.add(maps[target.name], target)
            if number < _CASES_SHOWN:
                rows.append((f"{case.source}: {case.id}", _panels(case, maps)))
        picture_sheet(rows).save(stem.with_suffix(".png"), optimize=True)
        if isinstance(method, PredictorMethod):
            answers = "\n".join(_answers(predictor, eval_cases[:_CASES_SHOWN]))
            stem.with_suffix(".md").write_text(answers, encoding="utf-8")
        return _scores(tallies)

    patience = settings.early_stopping_patience
    return Validation(measure, "iou", True, settings.eval_steps, patience)


def _scores(tallies: Mapping[str, Tally]) -> dict[str, float]:
    """IoU by class, where it is defined, after their mean."""
    scores = {}
    for name in sorted(tallies):
        iou = tallies[name].scores()["iou"]
        if iou is not None:
            scores[f"iou/{name}"] = float(iou)
    return {"iou": sum(scores.values()) / max(len(scores), 1), **scores}


def loss_validation(
    settings: ValidatedSettings,
    batches: Sequence[Batch],
    losses_of: Callable[[Path], Callable[[Batch], dict[str, torch.Tensor]]],
    write_samples: Callable[[Path, Path], None],
) -> Validation:
    """Measure loss terms, and their weighted sum as ``loss``, on batches of validation places.

    Args:
        settings: Of the stage.
        batches: Fixed batches.
        losses_of: Gives, for a checkpoint, what computes the loss terms of a batch.
        write_samples: Draws or writes what a checkpoint makes of a few records, to a path without
            suffix.
    """

    @torch.no_grad()
    def measure(checkpoint: Path, stem: Path) -> dict[str, float]:
        losses = losses_of(checkpoint)
        rows = [{name: term.item() for name, term in losses(batch).items()} for batch in batches]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        write_samples(checkpoint, stem)
        weights = settings.loss_weights
        total = sum(weights.get(name, 1.0) * mean for name, mean in means.items())
        return {"loss": total, **means}

    patience = settings.early_stopping_patience
    return Validation(measure, "loss", False, settings.eval_steps, patience)


def validation_batches(
    settings: ValidatedSettings, draw: Callable[[int, int], Batch]
) -> list[Batch]:
    """Fixed batches that hold at least ``eval_records`` records.

    Args:
        settings: Of the stage.
        draw: Draws the batch of a step and of a part of the step.
    """
    count = -(-settings.eval_records // settings.batch_size)
    return [draw(step, 0) for step in range(count)]


def validation_records(folder: str | Path, count: int) -> list[SpieRecord]:
    """Up to ``count`` survey records of validation places, spread evenly over the shards.

    Raises:
        RecordError: There is none.
    """
    records = validation_surveys(folder)
    chosen = np.unique(np.linspace(0, len(records) - 1, count).round().astype(int))
    return [records.record(row) for row in chosen.tolist()]


def validation_surveys(folder: str | Path) -> RecordFolder:
    """All survey records of validation places.

    Raises:
        RecordError: There is none.
    """
    records = RecordFolder(folder, "survey").split("val")
    if not len(records):
        raise RecordError(
            f"no survey records of split 'val' in {folder}; set eval_steps=0 or build such records"
        )
    return records


class ClassPromptMethod:
    """Predicts masks from a table of prompt tokens per class, without the language model.

    Args:
        predictor: The model.
        prompts: (classes, K, prompt_dim).
    """

    def __init__(self, predictor: ModelPredictor, prompts: torch.Tensor) -> None:
        self.predictor = predictor
        self.prompts = prompts.to(predictor.device)

    @torch.inference_mode()
    def __call__(self, case: Case) -> dict[str, NDArray[np.float32] | None]:
        """Probability maps of all targets of a case."""
        scene = self.predictor.open(case.pixels, case.evidence)
        coarse = scene.context.coarse.float()
        rows = [CLASS_NAMES.index(target.class_name) for target in case.targets]
        overviews = coarse.expand(len(rows), -1, -1, -1)
        weights = self.predictor.model.refiner(self.prompts[rows], overviews)
        maps = scene.probabilities(scene.features(case.pixels), list(weights))
        return {
            target.name: probability for target, probability in zip(case.targets, maps, strict=True)
        }


def _panels(case: Case, maps: ProbabilityMaps) -> list[Panel]:
    """The image, the labels on it, and the model's masks on it."""
    image, caption = rgb_image(case.pixels)
    colours = [classes()[target.class_name].colour for target in case.targets]
    labels = np.zeros(case.pixels.valid.shape, np.uint8)
    masks = np.zeros(case.pixels.valid.shape, np.uint8)
    for value, target in enumerate(case.targets, start=1):
        labels[target.mask & target.known] = value
        probability = maps[target.name]
        if probability is not None:
            masks[probability >= 0.5] = value
    return [
        Panel(image, caption),
        Panel(overlay(image, labels, colours), "labels"),
        Panel(overlay(image, masks, colours), "model"),
    ]


def _answers(predictor: ModelPredictor, shown: Sequence[Case]) -> Iterator[str]:
    """What the model answers to a few queries, as lines of Markdown."""
    for case in shown:
        scene = predictor.open(case.pixels, case.evidence)
        yield f"## {case.source}: {case.id}\n"
        for target in case.targets[:2]:
            try:
                text = scene.propose([(target.query, ())])[0].text
            except AnswerError as error:
                text = str(error)
            yield f"- {target.query}\n  - `{text}`"
        yield ""
