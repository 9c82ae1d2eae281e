"""Condensation: K prompt tokens by attention or by pooling, on validation places.

Encoder, language model and pixel decoder of a checkpoint stay as they are; per arm and seed,
condensation and refiner learn anew from what these give for every labelled class of training
chips.

    python tests/benchmarks/condensation.py RECORDS -o OUT
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.model.decoder import Condensation, Pooling, PromptRefiner, mask_logits
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.query.answer_markup import format_span
from spex.records import load_pixels, read_records
from train.data.training_chips import CLASS_NAMES, label_planes
from train.run.losses import mask_losses

ARMS = {"attention, K = 1": ("attention", 1), "attention, K = 4": ("attention", 4),
        "attention, K = 8": ("attention", 8), "pooling, K = 4": ("pooling", 4)}  # fmt: skip
SIDE, SPANS, RATE = 128, 16, 1e-3


@dataclass(frozen=True)
class Seen:
    """Frozen outputs for one chip: features (D, h, w), pooled overview, hidden states per class."""

    source: str
    features: Tensor
    coarse: Tensor
    hidden: dict[str, Tensor]
    labels: dict[str, Tensor]


@torch.inference_mode()
def see(
    predictor: ModelPredictor, folder: Path, split: str, limit: int, rng: np.random.Generator
) -> list[Seen]:
    """At most ``limit`` chips of a split; a synonym names the class in training, else its title."""
    records = [
        record
        for shard in sorted(folder.glob("survey_*.parquet"))
        for record in read_records(shard)
        if record.split == split and record.source != "simulated"
    ]
    model, found = predictor.model, []
    for number in rng.permutation(len(records))[:limit]:
        record = records[int(number)]
        pixels = load_pixels(record)
        labels = label_planes(record, pixels.valid.shape)
        row, col = (
            int(rng.integers(0, max(0, n - SIDE) + 1)) if split == "train" else 0
            for n in pixels.valid.shape
        )
        size = SIDE if split == "train" else max(pixels.valid.shape)
        window = (slice(row, row + size), slice(col, col + size))
        pixels = replace(
            pixels, values=pixels.values[(slice(None), *window)], valid=pixels.valid[window]
        )
        labels = np.where(pixels.valid, labels[(slice(None), *window)], -1)
        told = [name for i, name in enumerate(CLASS_NAMES) if (labels[i] >= 0).any()]
        if not told:
            continue
        evidence = measure(pixels)
        scene = predictor.open(pixels, evidence)
        context = scene.context
        hidden = {}
        for name in told:
            about = classes()[name]
            words = str(rng.choice(about.synonyms)) if split == "train" else about.title
            ids, start = predictor.processor.encode(words, "", format_span(name, words))
            rows = torch.tensor([ids])
            embeds = model.embed(rows, context.visual)
            states = model.language.get_decoder()(
                inputs_embeds=embeds, use_cache=False
            ).last_hidden_state[0]
            ((_, begin, end),) = model.spans(rows, torch.tensor([start]))
            hidden[name] = states[begin:end].clone()
        features = torch.from_numpy(scene.features(pixels))
        planes = {name: torch.from_numpy(labels[CLASS_NAMES.index(name)]) for name in told}
        found.append(
            Seen(
                record.source, features, F.adaptive_avg_pool2d(context.coarse, 8)[0], hidden, planes
            )
        )
    return found


class Arm(torch.nn.Module):
    """Condensation and refiner of one kind."""

    def __init__(self, predictor: ModelPredictor, kind: str, tokens: int) -> None:
        super().__init__()
        config = predictor.model.config
        own = type(config).from_dict({**config.to_dict(), "prompt_tokens": tokens})
        self.condensation = (Condensation if kind == "attention" else Pooling)(
            own, config.text_config.hidden_size
        )
        self.refiner = PromptRefiner(own)

    def forward(self, spans: Sequence[tuple[Seen, str]]) -> list[Tensor]:
        """Mask logits (h, w) per span."""
        hidden = [seen.hidden[name] for seen, name in spans]
        states = torch.nn.utils.rnn.pad_sequence(hidden, batch_first=True)
        lengths = torch.tensor([len(one) for one in hidden])
        prompts = self.condensation(states, torch.arange(states.shape[1])[None] < lengths[:, None])
        weights = self.refiner(prompts, torch.stack([seen.coarse for seen, _ in spans]))
        return [
            mask_logits(seen.features.float(), w[None])[0]
            for (seen, _), w in zip(spans, weights, strict=True)
        ]


def learn(arm: Arm, chips: list[Seen], steps: int, rng: np.random.Generator) -> None:
    """Fit an arm: AdamW with a cosine, 2 BCE + Dice."""
    choices = [
        (seen, name)
        for seen in chips
        for name in seen.hidden
        if min(seen.features.shape[1:]) == SIDE
    ]
    optimizer = torch.optim.AdamW(arm.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        spans = [choices[int(i)] for i in rng.integers(len(choices), size=SPANS)]
        bce, dice = mask_losses(
            torch.stack(arm(spans)), torch.stack([seen.labels[name] for seen, name in spans])
        )
        optimizer.zero_grad()
        (2 * bce + dice).backward()
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def iou(arm: Arm, chips: list[Seen]) -> dict[str, float]:
    """IoU per ``source/class``, pixels of all chips pooled; classes with some positive pixels."""
    counts: dict[str, np.ndarray] = {}
    for seen in chips:
        for name in seen.hidden:
            known = seen.labels[name] >= 0
            truth, mine = seen.labels[name][known] > 0, arm([(seen, name)])[0][known] > 0
            row = np.array([int((truth & mine).sum()), int((truth | mine).sum()), int(truth.sum())])
            counts[f"{seen.source}/{name}"] = counts.get(f"{seen.source}/{name}", 0) + row
    return {name: float(row[0] / row[1]) for name, row in sorted(counts.items()) if row[2] > 1000}


def main() -> None:
    """Print the table and write ``condensation.json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--model", help="checkpoint; the shipped one if left out")
    parser.add_argument("--chips", type=int, default=250)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    predictor = load(given.model)
    rng = np.random.default_rng(0)
    chips = see(predictor, given.records, "train", given.chips, rng)
    places = see(predictor, given.records, "val", 10_000, rng)
    results: dict[str, list[dict[str, float]]] = {}
    for label, (kind, tokens) in ARMS.items():
        for seed in range(given.seeds):
            torch.manual_seed(seed)
            arm = Arm(predictor, kind, tokens)
            learn(arm, chips, given.steps, np.random.default_rng(seed))
            results.setdefault(label, []).append(iou(arm.eval(), places))
        runs = [float(np.mean(list(run.values()))) for run in results[label]]
        print(
            f"{label:20} mean IoU {np.mean(runs):.3f} ({min(runs):.3f} to {max(runs):.3f})",
            flush=True,
        )
        (given.out / "condensation.json").write_text(
            json.dumps(results, indent=1), encoding="utf-8"
        )
    for name in results[next(iter(ARMS))][0]:
        row = "  ".join(f"{np.mean([run[name] for run in runs]):.3f}" for runs in results.values())
        print(f"{name:40}{row}")


if __name__ == "__main__":
    main()
