"""Stage ``adapt``: a region or a class learned from a few tiles, as low-rank pairs in the parts that make prompts.

Only masks of the classes learned pass through the pairs, so every other class stays bit for bit what it was. What the
frozen parts make of a crop is computed once and kept, so steps are cheap. Where the labels are silent, as on half of
the sample scene, a class that the model knew before is held to what the model said of it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from spex.errors import RecordError
from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.evidence.text import evidence_text
from spex.model.adapter import PARTS, Adapter
from spex.model.decoder import mask_logits
from spex.model.precision import autocast
from spex.model.predictor import ModelPredictor
from spex.model.spex import SpexModel
from spex.query.answer_markup import format_span
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Pixels, Scene
from spex.records import SpieRecord, load_pixels
from train.data.crops import jitter, random_crop
from train.data.random_state import rng_at
from train.data.training_chips import TrainingChip, label_planes
from train.run import lora
from train.run.loop import run
from train.run.losses import mask_losses, presence_loss
from train.settings import AdaptSettings

_CROPS = 256  # that are looked at and kept, 1.3 MB each at 128 pixels
_ASKED = 6  # classes of a crop that are asked for at most
_REPLAYED = 0.35  # of the crops
_JITTERED = {
    False: 0.3,
    True: 0.8,
}  # of the region's crops, and of those replayed: few scenes stand for all others
_TOLD = 0.5  # of the crops are asked about with prior text: it is most of the language model's work
_QUERIES = ("{}", "show {}", "where is {}?", "map {}", "find all {}", "extract {}", "outline {}")


@dataclass(frozen=True)
class FrozenCrop:
    """What the frozen parts make of a crop and of a conversation with S spans about it.

    Args:
        names: classes of the spans. states: hidden states (T, text_dim) of each. coarse: overview (fusion_dim, h, w).
        features: of the pixels, float16 (pixel_dim, H, W). before: decoder weights (S, pixel_dim + 2) without pairs.
        labels: int8 (S, H, W): 1 yes, 0 no, -1 unknown. silent: bool (S, H, W), where all is to stay as it was.
    """

    names: tuple[str, ...]
    states: list[Tensor]
    coarse: Tensor
    features: Tensor
    before: Tensor
    labels: Tensor
    silent: Tensor


class RegionStream:
    """Crops of a region and of what is replayed, each asked for some of the classes that the region shows.

    Args:
        predictor: the model as it is. chips: of the region. replayed: unlabelled ones, on which it is to stay as it is.
        names: all classes, in the order of the chips' labels.

    Attributes:
        learned: the classes that the region shows.

    Raises:
        RecordError: it shows none.
    """

    def __init__(
        self, predictor: ModelPredictor, chips: Sequence[TrainingChip], replayed: Sequence[TrainingChip], names: Sequence[str],
        settings: AdaptSettings,
    ) -> None:  # fmt: skip
        self.predictor, self.settings, self.names = predictor, settings, list(names)
        shown = {
            n: [chip for chip in chips if ((chip.labels[n] > 0) & chip.pixels.valid).any()]
            for n in range(len(names))
        }
        self.shown = {n: some for n, some in shown.items() if some}
        self.learned = tuple(self.names[n] for n in sorted(self.shown))
        if not self.shown:
            raise RecordError(
                "the labels of these tiles show no class anywhere; give tiles with some of it"
            )
        self.replayed = (
            list(replayed) if set(self.learned) - set(added_classes()) else []
        )  # of a new class nothing is known
        self._looks: dict[int, FrozenCrop] = {}

    def draw(self, step: int, process: int) -> list[FrozenCrop]:
        """The batch of a step."""
        numbers = rng_at(self.settings.seed, step, process).integers(
            _CROPS, size=self.settings.batch_size
        )
        return [self.look(int(number)) for number in numbers]

    def look(self, number: int) -> FrozenCrop:
        """The crop of a number, looked at when it is first drawn."""
        if number not in self._looks:
            self._looks[number] = self._look(np.random.default_rng([self.settings.seed, number]))
        return self._looks[number]

    @torch.no_grad()
    def _look(self, rng: np.random.Generator) -> FrozenCrop:
        pixels, labels, asked = self._crop(rng)
        evidence, predictor = measure(pixels), self.predictor
        about = [classes()[self.names[n]] for n in asked]
        phrases = [
            str(rng.choice([a.title, *a.synonyms[:8]])) if rng.random() < 0.5 else a.title
            for a in about
        ]
        query = str(rng.choice(_QUERIES)).format(" and ".join(phrases))
        prior = evidence_text(evidence, query) if rng.random() < _TOLD else ""
        answer = " ".join(
            f"{format_span(a.name, words)}: <fact:area>."
            for a, words in zip(about, phrases, strict=True)
        )
        ids, start = predictor.processor.encode(query, prior, answer)
        tokens, begins = (
            torch.tensor([ids], device=predictor.device),
            torch.tensor([start], device=predictor.device),
        )
        scene = predictor.open(pixels, evidence)
        context = scene.context
        with autocast(predictor.device):
            read = predictor.model(tokens, torch.ones_like(tokens), begins, context, logits=False)
        told = torch.from_numpy(np.where(pixels.valid, labels[asked], -1))
        known = torch.tensor([a.name not in added_classes() for a in about])
        return FrozenCrop(
            names=tuple(a.name for a in about),
            states=[read.hidden[0, begin:end].float() for _, begin, end in read.spans],
            coarse=context.coarse[0].float().clone(),
            features=torch.from_numpy(scene.features(pixels)),
            before=read.decoder_weights.float(),
            labels=told,
            silent=torch.from_numpy(pixels.valid) & (told < 0) & known[:, None, None],
        )

    def _crop(self, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.int8], list[int]]:
        """A crop, its labels, and what to ask for: every class has its turn, however rare it is.

        A new class is asked for only where the labels speak of it.
        """
        first = None
        if self.replayed and rng.random() < _REPLAYED:
            chip = self.replayed[int(rng.integers(len(self.replayed)))]
        else:
            first = int(rng.choice(list(self.shown)))
            chip = self.shown[first][int(rng.integers(len(self.shown[first])))]
        for _ in range(6):
            pixels, labels = random_crop(chip, self.settings.crop_size, rng)
            if pixels.valid.any() and (first is None or (labels[first] > 0).any()):
                break
        if rng.random() < _JITTERED[first is None]:
            pixels = jitter(pixels, rng)
        able = [
            n
            for n in self.shown
            if n != first and (self.names[n] not in added_classes() or (labels[n] >= 0).any())
        ]
        chosen = [*([] if first is None else [first]), *rng.permutation(able).tolist()][:_ASKED]
        return pixels, labels, [int(n) for n in rng.permutation(chosen)]


class AdaptTrainer(nn.Module):
    """Condensation and refiner of a model with pairs beside their layers; nothing else is learned."""

    def __init__(self, model: SpexModel, rank: int) -> None:
        super().__init__()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        for part in PARTS:
            setattr(self, part, copy.deepcopy(model.get_submodule(part)))
        lora.inject(self, rank)

    def forward(self, looks: Sequence[FrozenCrop]) -> dict[str, Tensor]:
        """Loss terms: masks and presence where labels speak, and where they do not, what the model said before."""
        self.steps += 1
        states = [span for look in looks for span in look.states]
        mask = pad_sequence(
            [torch.ones(len(span), dtype=torch.bool, device=span.device) for span in states], True
        )
        coarse = torch.cat([look.coarse.expand(len(look.states), -1, -1, -1) for look in looks])
        weights = self.refiner(self.condensation(pad_sequence(states, True), mask), coarse)
        before, labels, silent = (
            torch.cat([getattr(look, n) for look in looks]) for n in ("before", "labels", "silent")
        )
        counts = [len(look.states) for look in looks]
        now, then = (
            torch.cat(
                [
                    mask_logits(look.features.float(), w)
                    for look, w in zip(looks, x.split(counts), strict=True)
                ]
            )
            for x in (weights, before)
        )
        told = (labels >= 0).flatten(1).any(1)
        bce, dice = mask_losses(now, labels)
        return {
            "bce": bce,
            "dice": dice,
            "presence": presence_loss(weights[told, -1], labels[told]),
            "keep": _gap(now, then, silent),
            "keep_presence": _gap(weights[:, -1], before[:, -1], silent.flatten(1).any(1) & ~told),
        }


def _gap(logits: Tensor, before: Tensor, where: Tensor) -> Tensor:
    """How far logits are from what they were: mean divergence of the probabilities where it counts."""
    chance = before.float().sigmoid()
    apart, least = (
        F.binary_cross_entropy_with_logits(x.float(), chance, reduction="none")
        for x in (logits, before)
    )
    return ((apart - least) * where).sum() / where.sum().clamp(min=1)


def chip(record: SpieRecord, names: Sequence[str]) -> TrainingChip:
    """A survey record in memory."""
    pixels = load_pixels(record)
    stored = replace(pixels, values=pixels.values.astype(np.float16))
    return TrainingChip(
        record.id, record.source, stored, label_planes(record, pixels.valid.shape, names)
    )


def sample_halves() -> tuple[Pixels, Pixels]:
    """The upper half of the sample scene, for replay, and the lower, on which the model is compared with itself."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = Scene.open(write_sample_scene(Path(folder))).read()
    middle = len(pixels.valid) // 2
    cuts = (slice(None, middle), slice(middle, None))
    upper, lower = (
        replace(pixels, values=pixels.values[:, cut], valid=pixels.valid[cut]) for cut in cuts
    )
    return upper, lower


def unlabelled(pixels: Pixels, names: Sequence[str]) -> TrainingChip:
    """A chip of which no label says anything."""
    nothing: NDArray[np.int8] = np.full((len(names), *pixels.valid.shape), -1, np.int8)
    return TrainingChip("sample", "sample", pixels, nothing)


def train(
    settings: AdaptSettings,
    predictor: ModelPredictor,
    learned: Sequence[SpieRecord],
    kept: Sequence[SpieRecord] = (),
) -> Path:
    """Learn from the survey records ``learned`` while staying as it was on ``kept``; return the adapter's folder.

    Raises:
        RecordError: no tile shows a class.
        ConfigError: ``settings.out`` holds a finished run, or one with other settings.
    """
    names, base = tuple(classes()), predictor.sha256
    assert base is not None
    replayed = [
        unlabelled(pixels, names) for pixels in (sample_halves()[0], *map(load_pixels, kept))
    ]
    stream = RegionStream(predictor, [chip(r, names) for r in learned], replayed, names, settings)
    torch.manual_seed(settings.seed)
    trainer, out = AdaptTrainer(predictor.model, settings.lora_rank), Path(settings.out)

    def save(folder: Path) -> None:
        pairs = {
            name: (down, scale * up) for name, (down, up, scale) in lora.lora_pairs(trainer).items()
        }
        about = {"steps": int(trainer.steps)}
        Adapter(out.name, base, pairs, stream.learned, added_classes(), about).save(folder)

    run(settings, trainer, stream.draw, lambda part, batch: part(batch), save, workers=0)
    return out / "checkpoint"
