"""Crops of a region and conversations about them, encoded by the frozen parts of the model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from spex.errors import RecordError
from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.evidence.text import evidence_text
from spex.model.precision import autocast
from spex.model.predictor import ModelPredictor
from spex.query.answer_markup import format_span
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Pixels, Scene
from train.data.crops import jitter, random_crop
from train.data.random_state import rng_at
from train.data.training_chips import TrainingChip
from train.settings import AdaptSettings

_CROP_COUNT = 256  # crops that are encoded and kept, 1.3 MB each at 128 pixels
_MAX_CLASSES = 6  # classes in the conversation about a crop
_MAX_TRIES = 6  # draws of a crop until it shows its class
_REPLAY_SHARE = 0.35  # of the crops
_JITTER_SHARE_REGION = 0.3
_JITTER_SHARE_REPLAY = 0.8  # few scenes stand for all others
_EVIDENCE_TEXT_SHARE = 0.5  # reading it is most of the language model's work
_QUERIES = ("{}", "show {}", "where is {}?", "map {}", "find all {}", "extract {}", "outline {}")


@dataclass(frozen=True)
class FrozenCrop:
    """What the frozen parts make of a crop and of a conversation about S classes in it.

    Attributes:
        names: The S classes.
        states: Hidden states (T, text_dim) of the span of each class.
        coarse: float32 (fusion_dim, h, w), overview of the crop.
        features: float16 (pixel_dim, H, W), features of the pixels.
        before: float32 (S, pixel_dim + 2), decoder weights without the low-rank pairs.
        labels: int8 (S, H, W): 1, 0, or -1 for unknown.
        silent: bool (S, H, W), unlabelled pixels whose mask must stay as it was.
    """

    names: tuple[str, ...]
    states: list[Tensor]
    coarse: Tensor
    features: Tensor
    before: Tensor
    labels: Tensor
    silent: Tensor


class RegionStream:
    """Batches of crops, each with a conversation about some of the classes that the region shows.

    There are ``_CROP_COUNT`` different crops; each is encoded when it is first drawn.

    Args:
        predictor: The model before training.
        chips: Labelled chips of the region.
        replayed: Unlabelled chips on which the model must stay as it was.
        class_names: Classes in the order of the label planes.
        settings: Batch size, crop size and seed.

    Attributes:
        learned: The classes that the region shows.

    Raises:
        RecordError: The region shows no class.
    """

    def __init__(
        self,
        predictor: ModelPredictor,
        chips: Sequence[TrainingChip],
        replayed: Sequence[TrainingChip],
        class_names: Sequence[str],
        settings: AdaptSettings,
    ) -> None:
        self.predictor = predictor
        self.settings = settings
        self.class_names = list(class_names)
        self.chips_by_class = _chips_by_class(chips, len(class_names))
        if not self.chips_by_class:
            raise RecordError(
                "the labels of these tiles show no class; give tiles that show at least one"
            )
        self.learned = tuple(class_names[number] for number in sorted(self.chips_by_class))
        # The model knows nothing of a new class, so there is nothing to replay.
        only_new = set(self.learned) <= set(added_classes())
        self.replayed = [] if only_new else list(replayed)
        self._crops: dict[int, FrozenCrop] = {}

    def draw(self, step: int, process: int) -> list[FrozenCrop]:
        """The batch of a step."""
        rng = rng_at(self.settings.seed, step, process)
        numbers = rng.integers(_CROP_COUNT, size=self.settings.batch_size)
        return [self.crop(int(number)) for number in numbers]

    def crop(self, number: int) -> FrozenCrop:
        """The crop of a number."""
        if number not in self._crops:
            self._crops[number] = self._encode(np.random.default_rng([self.settings.seed, number]))
        return self._crops[number]

    @torch.no_grad()
    def _encode(self, rng: Generator) -> FrozenCrop:
        """Draw a crop and a conversation, and run the frozen parts on both."""
        predictor = self.predictor
        pixels, labels, class_numbers = self._draw_crop(rng)
        evidence = measure(pixels)
        names = [self.class_names[number] for number in class_numbers]
        phrases = [_random_phrase(rng, name) for name in names]
        query = str(rng.choice(_QUERIES)).format(" and ".join(phrases))
        text = evidence_text(evidence, query) if rng.random() < _EVIDENCE_TEXT_SHARE else ""
        answer = " ".join(
            f"{format_span(name, phrase)}: <fact:area>."
            for name, phrase in zip(names, phrases, strict=True)
        )
        ids, start = predictor.processor.encode(query, text, answer)
        tokens = torch.tensor([ids], device=predictor.device)
        starts = torch.tensor([start], device=predictor.device)
        scene = predictor.open(pixels, evidence)
        with autocast(predictor.device):
            output = predictor.model(
                tokens, torch.ones_like(tokens), starts, scene.context, logits=False
            )
        class_labels = torch.from_numpy(np.where(pixels.valid, labels[class_numbers], -1))
        is_new = torch.tensor([name in added_classes() for name in names])
        unlabelled = torch.from_numpy(pixels.valid) & (class_labels < 0)
        return FrozenCrop(
            names=tuple(names),
            states=[output.hidden[0, begin:end].float() for _, begin, end in output.spans],
            coarse=scene.context.coarse[0].float().clone(),
            features=torch.from_numpy(scene.features(pixels)),
            before=output.decoder_weights.float(),
            labels=class_labels,
            silent=unlabelled & ~is_new[:, None, None],
        )

    def _draw_crop(self, rng: Generator) -> tuple[Pixels, NDArray[np.int8], list[int]]:
        """Draw a crop, its labels, and the numbers of the classes to ask for.

        A crop of the region is drawn for one of its classes, each as often, however rare it is. A
        new class is asked for only where labels say something of it.
        """
        shown: int | None = None
        if self.replayed and rng.random() < _REPLAY_SHARE:
            chip = self.replayed[int(rng.integers(len(self.replayed)))]
        else:
            shown = int(rng.choice(list(self.chips_by_class)))
            chips = self.chips_by_class[shown]
            chip = chips[int(rng.integers(len(chips)))]
        for _ in range(_MAX_TRIES):
            pixels, labels = random_crop(chip, self.settings.crop_size, rng)
            if pixels.valid.any() and (shown is None or (labels[shown] > 0).any()):
                break
        jitter_share = _JITTER_SHARE_REPLAY if shown is None else _JITTER_SHARE_REGION
        if rng.random() < jitter_share:
            pixels = jitter(pixels, rng)
        others = [
            number
            for number in self.chips_by_class
            if number != shown and self._can_ask(number, labels)
        ]
        chosen = rng.permutation(others).tolist()
        if shown is not None:
            chosen.insert(0, shown)
        return pixels, labels, [int(number) for number in rng.permutation(chosen[:_MAX_CLASSES])]

    def _can_ask(self, class_number: int, labels: NDArray[np.int8]) -> bool:
        is_new = self.class_names[class_number] in added_classes()
        return not is_new or bool((labels[class_number] >= 0).any())


def _chips_by_class(
    chips: Sequence[TrainingChip], class_count: int
) -> dict[int, list[TrainingChip]]:
    """The chips that show each class, by the number of the class."""
    by_class: dict[int, list[TrainingChip]] = {}
    for number in range(class_count):
        for chip in chips:
            if ((chip.labels[number] > 0) & chip.pixels.valid).any():
                by_class.setdefault(number, []).append(chip)
    return by_class


def _random_phrase(rng: Generator, class_name: str) -> str:
    """Words for a class: its title, or every other time any of its title and synonyms."""
    land_class = classes()[class_name]
    if rng.random() < 0.5:
        return str(rng.choice([land_class.title, *land_class.synonyms[:8]]))
    return land_class.title


def sample_halves() -> tuple[Pixels, Pixels]:
    """The upper half of the sample scene, for replay, and the lower half, for checks."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = Scene.open(write_sample_scene(Path(folder))).read()
    middle = len(pixels.valid) // 2
    return _rows(pixels, slice(None, middle)), _rows(pixels, slice(middle, None))


def _rows(pixels: Pixels, rows: slice) -> Pixels:
    return replace(pixels, values=pixels.values[:, rows], valid=pixels.valid[rows])
