"""What a run is judged by while it goes on: its own checkpoints, loaded as anyone would, on validation places.

Reading the written checkpoint costs a second or two and holds for every engine: one process looks, the others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spex.errors import AnswerError, RecordError
from spex.evaluate import Case, Method, QueryMethod, cases
from spex.evidence.classes import classes
from spex.model.predictor import ModelPredictor, load
from spex.query.answer_markup import Plan, parse_answer
from spex.records import SpieRecord
from spex.results.rendering import overlay, rgb_image
from spex.scores import Tally
from train.data.record_folder import RecordFolder
from train.data.training_chips import CLASS_NAMES
from train.run.loop import Validation
from train.run.reconstructions import PANEL, write_sheet
from train.settings import ValidatedSettings

_SHOWN = 4


def mask_validation(
    settings: ValidatedSettings, method: Callable[[ModelPredictor, Path], Method]
) -> Validation | None:
    """IoU per class and their mean as ``iou``, on records of validation places; none if the settings ask for none.

    Args:
        method: how to ask a checkpoint, given also by its folder, for a probability map.

    Raises:
        RecordError: there is no validation place.
    """
    if not settings.eval_steps:
        return None
    found = list(cases(validation_records(settings.data, settings.eval_records)))

    def look(checkpoint: Path, stem: Path) -> dict[str, float]:
        predictor = load(checkpoint)
        ask, tallies, rows = method(predictor, checkpoint), dict[str, Tally](), []
        for number, case in enumerate(found):
            maps = ask(case)
            for target in case.targets:
                tallies.setdefault(target.class_name, Tally()).add(maps[target.name], target)
            if number < _SHOWN:
                rows.append((f"{case.source}: {case.id}", list(_panels(case, maps))))
        write_sheet(rows, stem.with_suffix(".png"))
        if isinstance(ask, QueryMethod):
            stem.with_suffix(".md").write_text(
                "\n".join(_answers(predictor, found[:_SHOWN])), encoding="utf-8"
            )
        scores = {name: tallies[name].scores()["iou"] for name in sorted(tallies)}
        known = {f"iou/{name}": float(value) for name, value in scores.items() if value is not None}
        return {"iou": sum(known.values()) / max(len(known), 1), **known}

    return Validation(look, "iou", True, settings.eval_steps, settings.early_stopping_patience)


def loss_validation(
    settings: ValidatedSettings,
    batches: Sequence[Any],
    losses_of: Callable[[Path], Callable[[Any], dict[str, torch.Tensor]]],
    sample: Callable[[Path, Path], None],
) -> Validation:
    """Loss terms, and as ``loss`` their weighted sum, of batches of validation places.

    Args:
        losses_of: terms of a batch, by a checkpoint. sample: draws or writes what that makes of a few, into a path
            without ending.
    """

    @torch.no_grad()
    def look(checkpoint: Path, stem: Path) -> dict[str, float]:
        losses = losses_of(checkpoint)
        rows = [{name: term.item() for name, term in losses(batch).items()} for batch in batches]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        sample(checkpoint, stem)
        return {
            "loss": sum(
                settings.loss_weights.get(name, 1.0) * value for name, value in means.items()
            ),
            **means,
        }

    return Validation(look, "loss", False, settings.eval_steps, settings.early_stopping_patience)


def validation_records(folder: str | Path, count: int) -> list[SpieRecord]:
    """Up to ``count`` survey records of validation places, spread evenly over the shards.

    Raises:
        RecordError: there is none.
    """
    records = RecordFolder(folder, "survey").split("val")
    if not len(records):
        raise RecordError(
            f"no survey records of split 'val' in {folder}; set eval_steps=0, or build some"
        )
    chosen = np.unique(np.linspace(0, len(records) - 1, count).round().astype(int))
    return [records.record(number) for number in chosen.tolist()]


class ClassPromptMethod:
    """Asks a model with a table of prompt tokens per class, without its language model.

    Args:
        prompts: (classes, K, prompt_dim).
    """

    def __init__(self, predictor: ModelPredictor, prompts: torch.Tensor) -> None:
        self.predictor, self.prompts = predictor, prompts.to(predictor.device)

    @torch.inference_mode()
    def __call__(self, case: Case) -> dict[str, NDArray[np.float32] | None]:
        """Probability maps of all targets."""
        coarse = self.predictor.context(case.pixels, case.evidence).coarse.float()
        wanted = self.prompts[[CLASS_NAMES.index(target.class_name) for target in case.targets]]
        plan = Plan(
            parse_answer(""),
            self.predictor.model.refiner(wanted, coarse.expand(len(wanted), -1, -1, -1)),
        )
        features = self.predictor.features(case.pixels, case.evidence)
        maps = self.predictor.decode(features, plan, case.pixels, case.evidence)
        return {target.name: found for target, found in zip(case.targets, maps, strict=True)}


def _panels(
    case: Case, maps: dict[str, NDArray[np.float32] | None]
) -> Iterator[tuple[str, Image.Image]]:
    """The image, the truth laid over it, and what was found."""
    image, words = rgb_image(case.pixels)
    colours = [classes()[target.class_name].colour for target in case.targets]
    truth, mine = (np.zeros(case.pixels.valid.shape, np.uint8) for _ in range(2))
    for value, target in enumerate(case.targets, start=1):
        truth[target.mask & target.known] = value
        if (found := maps[target.name]) is not None:
            mine[found >= 0.5] = value
    panels = {
        words: image,
        "labels": overlay(image, truth, colours),
        "model": overlay(image, mine, colours),
    }
    for name, panel in panels.items():
        yield name, Image.fromarray(panel).resize((PANEL, PANEL), Image.Resampling.NEAREST)


def _answers(predictor: ModelPredictor, shown: list[Case]) -> Iterator[str]:
    for case in shown:
        yield f"## {case.source}: {case.id}\n"
        for target in case.targets[:2]:
            try:
                text = predictor.plan(target.query, case.pixels, case.evidence).answer.text
            except AnswerError as error:
                text = str(error)
            yield f"- {target.query}\n  - `{text}`"
        yield ""
