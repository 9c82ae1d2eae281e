"""Stage ``adapt``: a region or a class learned from a few tiles, as low-rank pairs in the parts that make the masks.

Encoder and language model stay as they are, so every query is read as before and both versions of the model share all
of their work but the decoder's. Where the labels are silent the model is held to what it said before: on the region's
own tiles, on half of the sample scene, and on records given to be kept.
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

from spex.evidence.classes import added, classes
from spex.evidence.maps import evidence_maps
from spex.evidence.prior import prior_text
from spex.evidence.scene import measure
from spex.model.adapter import Adapter
from spex.model.decoder import mask_logits
from spex.model.predictor import ModelPredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.prompts import format_span
from spex.raster.sample import write_sample
from spex.raster.scene import Pixels, Scene
from spex.records import SpieRecord, load_pixels
from train import lora
from train.chips import Chip, MaskBatch, Sample, collate, crop, jitter, labels_of
from train.dialogues import TextBatch, pad
from train.loop import rng_at, run
from train.losses import mask_losses, presence_loss
from train.masks import all_classes
from train.settings import Settings

PARTS = ("condensation", "refiner", "decoder")
_ASKED = 3  # labelled classes of a crop that are asked for at most, and one more that is not labelled
_REPLAYED = 0.25  # of the crops
_TOLD = 0.25  # of the batches carry prior text: it is most of the language model's work
_QUERIES = ("{}", "show {}", "where is {}?", "map {}", "find all {}", "extract {}", "outline {}")


@dataclass(frozen=True)
class RegionBatch:
    """Crops, one conversation with each; per span in reading order its class, and whether the model knew it before."""

    masks: MaskBatch
    text: TextBatch
    span_classes: Tensor
    known: Tensor


class RegionStream:
    """Batches of a region's crops and of those replayed.

    Args:
        chips: of the region. replayed: others, that are to stay as they are. names: all classes.
    """

    def __init__(
        self, chips: Sequence[Chip], replayed: Sequence[Chip], names: Sequence[str], processor: SpexProcessor,
        settings: Settings,
    ) -> None:  # fmt: skip
        self.chips, self.replayed, self.names = list(chips), list(replayed), list(names)
        self.processor, self.settings = processor, settings
        self.shown = {
            number: here for number in range(len(names)) if (here := [c for c in chips if (c.labels[number] > 0).any()])
        }

    def draw(self, step: int, process: int) -> RegionBatch:
        """The batch of a step."""
        rng = rng_at(self.settings.seed, step, process)
        told = rng.random() < _TOLD
        samples: list[Sample] = []
        conversations, numbers = [], list[int]()
        for _ in range(self.settings.batch):
            sample, first = self._crop(rng)
            asked = self._asked(rng, sample, first)
            numbers += asked
            conversations.append(self._conversation(rng, sample, asked, told=told))
            samples.append(sample)
        text = pad(conversations, self.processor.tokenizer)
        known = torch.tensor([self.names[number] not in added() for number in numbers])
        return RegionBatch(collate(samples), text, torch.tensor(numbers), known)

    def _crop(self, rng: np.random.Generator) -> tuple[Sample, int | None]:
        """A crop, and the class it was chosen for: every labelled class has its turn, however rare it is."""
        first = None
        if not self.shown or (self.replayed and rng.random() < _REPLAYED):
            chip = (self.replayed or self.chips)[int(rng.integers(len(self.replayed or self.chips)))]
        else:
            first = int(rng.choice(list(self.shown)))
            chip = self.shown[first][int(rng.integers(len(self.shown[first])))]
        for _ in range(6):
            pixels, labels = crop(chip, self.settings.crop, rng)
            if pixels.valid.any() and (first is None or (labels[first] > 0).any()):
                break
        if rng.random() < 0.3:
            pixels = jitter(pixels, rng)
        evidence = measure(pixels)
        return Sample(pixels, evidence, evidence_maps(pixels, evidence), labels), first

    def _asked(self, rng: np.random.Generator, sample: Sample, first: int | None) -> list[int]:
        """Classes to ask for: some that the labels speak of, and one that they do not, if the model knew it before."""
        new = added()
        told = [n for n in range(len(self.names)) if (sample.labels[n] >= 0).any() and n != first]
        silent = [n for n in range(len(self.names)) if n not in (*told, first) and self.names[n] not in new]
        chosen = ([] if first is None else [first]) + rng.permutation(told)[: int(rng.integers(_ASKED))].tolist()
        chosen += rng.permutation(silent)[: 1 if chosen else 3].tolist()
        return [int(n) for n in rng.permutation(chosen)]

    def _conversation(
        self, rng: np.random.Generator, sample: Sample, asked: list[int], *, told: bool
    ) -> tuple[list[int], int]:
        about = [classes()[self.names[n]] for n in asked]
        phrases = [str(rng.choice([a.title, *a.synonyms[:8]])) if rng.random() < 0.5 else a.title for a in about]
        query = str(rng.choice(_QUERIES)).format(" and ".join(phrases))
        spans = [format_span(a.name, phrase) for a, phrase in zip(about, phrases, strict=True)]
        prior = prior_text(sample.evidence, query) if told else ""
        return self.processor.encode(query, prior, " ".join(f"{span}: <fact:area>." for span in spans))


class AdaptTrainer(nn.Module):
    """A model with pairs in ``PARTS``; switched off, it is what it was.

    Args:
        table: prompt tokens (classes, K, prompt_dim) of the classes known before, the first of all.
    """

    def __init__(self, model: SpexModel, rank: int, table: Tensor) -> None:
        super().__init__()
        self.model = model
        self.steps: Tensor
        self.table: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("table", table)
        lora.inject(model, rank, [name for name in lora.targets(model) if name.split(".")[0] in PARTS])

    def forward(self, batch: RegionBatch) -> dict[str, Tensor]:
        """Loss terms: masks and presence where labels speak, and where they do not, what the model said before."""
        model, masks, text = self.model, batch.masks, batch.text
        self.steps += 1
        with torch.no_grad():
            context, fused = model.context(masks.values, masks.valid, masks.bands)
            hidden = model.language.get_decoder()(
                inputs_embeds=model.embed(text.input_ids, context.visual),
                attention_mask=text.attention_mask,
                use_cache=False,
            ).last_hidden_state
        spans = model.spans(text.input_ids, text.start)
        owner = torch.tensor([row for row, _, _ in spans])

        def decoded() -> tuple[Tensor, Tensor, Tensor, Tensor]:
            """Logits of the spans' masks (S, H, W) and presence (S,), then (B, classes, H, W) and (B, classes)."""
            weights = model.refiner(model.prompts(hidden, spans), context.coarse[owner])
            features = model.features(fused, masks.evidence)
            pairs = zip(owner.tolist(), weights, strict=True)
            found = torch.stack([mask_logits(features[row], w[None])[0] for row, w in pairs])
            return found, weights[:, -1], *all_classes(model, self.table, context.coarse, features)

        with torch.no_grad(), lora.switched_off(model):
            before = decoded()
        now = decoded()
        labels, valid = masks.labels[owner, batch.span_classes], torch.stack(masks.valid)
        told = (labels >= 0).flatten(1).any(1)
        bce, dice = mask_losses(now[0], labels)
        others = masks.labels[:, : len(self.table)] < 0
        silent = (
            valid[owner] & (labels < 0) & batch.known[:, None, None],
            ~told & batch.known,
            valid[:, None] & others,
            others.flatten(2).all(2),
        )
        kept = [_gap(mine, theirs, where) for mine, theirs, where in zip(now, before, silent, strict=True)]
        return {
            "bce": bce,
            "dice": dice,
            "presence": presence_loss(now[1][told], labels[told]),
            "keep": kept[0] + kept[2],
            "keep_presence": kept[1] + kept[3],
        }


def _gap(logits: Tensor, before: Tensor, where: Tensor) -> Tensor:
    """How far logits are from what they were: mean divergence of the probabilities where it counts."""
    chance = before.float().sigmoid()
    apart, least = (F.binary_cross_entropy_with_logits(x.float(), chance, reduction="none") for x in (logits, before))
    return ((apart - least) * where).sum() / where.sum().clamp(min=1)


@torch.no_grad()
def class_prompts(predictor: ModelPredictor, names: Sequence[str]) -> Tensor:
    """Prompt tokens (classes, K, prompt_dim) of bare spans with the classes' titles, no scene in sight."""
    model, processor = predictor.model, SpexProcessor(predictor.processor.tokenizer, 0, 1)
    about = [classes()[name] for name in names]
    text = pad([processor.encode(a.title, "", format_span(a.name, a.title)) for a in about], processor.tokenizer)
    ids, mask = text.input_ids.to(model.device), text.attention_mask.to(model.device)
    hidden = model.language.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return model.prompts(hidden, model.spans(ids, text.start))


def chip(record: SpieRecord, names: Sequence[str]) -> Chip:
    """A survey record in memory."""
    pixels = load_pixels(record)
    stored = replace(pixels, values=pixels.values.astype(np.float16))
    return Chip(record.id, record.source, stored, labels_of(record, pixels.valid.shape, names))


def sample_halves() -> tuple[Pixels, Pixels]:
    """The upper half of the sample scene, for replay, and the lower, on which the model is compared with itself."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = Scene.open(write_sample(Path(folder))).read()
    middle = len(pixels.valid) // 2
    cuts = (slice(None, middle), slice(middle, None))
    upper, lower = (replace(pixels, values=pixels.values[:, cut], valid=pixels.valid[cut]) for cut in cuts)
    return upper, lower


def unlabelled(pixels: Pixels, names: Sequence[str]) -> Chip:
    """A chip of which no label says anything."""
    nothing: NDArray[np.int8] = np.full((len(names), *pixels.valid.shape), -1, np.int8)
    return Chip("sample", "sample", pixels, nothing)


def train(
    settings: Settings, predictor: ModelPredictor, learned: Sequence[SpieRecord], kept: Sequence[SpieRecord] = ()
) -> Path:
    """Learn from the survey records ``learned`` while staying as it was on ``kept``; return the adapter's folder.

    Raises:
        ConfigError: ``settings.out`` holds a finished run, or one with other settings.
    """
    names, base = tuple(classes()), predictor.sha256
    assert base is not None
    model, out = copy.deepcopy(predictor.model), Path(settings.out)
    replayed = [unlabelled(sample_halves()[0], names), *(chip(record, names) for record in kept)]
    stream = RegionStream([chip(r, names) for r in learned], replayed, names, predictor.processor, settings)
    torch.manual_seed(settings.seed)
    table = class_prompts(predictor, [name for name in names if name not in added()])
    trainer = AdaptTrainer(model, settings.rank, table)

    def save(folder: Path) -> None:
        pairs = {name: (down, scale * up) for name, (down, up, scale) in lora.pairs(model).items()}
        Adapter(out.name, base, pairs, added(), {"steps": int(trainer.steps)}).save(folder)

    run(settings, trainer, stream.draw, lambda part, batch: part(batch), save)
    return out / "checkpoint"
