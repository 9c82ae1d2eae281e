"""What aggregation, evidence maps and prior text are worth: IoU on validation places.

Aggregation and evidence maps: small models trained alike by stage ``masks``, one per arm and seed.
Evidence text and evidence maps of a finished checkpoint: each is given or withheld when the scene
is queried, all else unchanged.

    python tests/benchmarks/ablation.py RECORDS -o OUT          # RECORDS: spex spie build
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from spex.evaluate import PredictorMethod, cases
from spex.evidence.scene_evidence import SceneEvidence
from spex.model.config import make_config
from spex.model.loading import SHIPPED, load
from spex.model.precision import autocast
from spex.model.predictor import ModelPredictor, ModelScenePredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.raster.scene import Pixels
from spex.records import SpieRecord, read_records
from spex.scores import Scores
from train.data.crops import CropStream, collate
from train.data.training_chips import CLASS_NAMES, load_chips
from train.settings import MaskSettings
from train.stages.class_prompts import load_class_prompts
from train.stages.launch import run_stage
from train.stages.masks import MaskTrainer

SMALL = {
    "hidden_sizes": (32, 64, 128, 192),
    "depths": (1, 1, 3, 1),
    "hyper_dim": 64,
    "fusion_dim": 64,
}
ALL = (4, 8, 16, 32)
ARMS: dict[
    str, tuple[dict[str, Any], dict[str, Any]]
] = {  # changes of the encoder's config, and of the settings
    "all strides": ({"fused_strides": ALL, "coarse_strides": ALL}, {}),
    "prompts look at 16 and 32 only": ({"fused_strides": ALL, "coarse_strides": (16, 32)}, {}),
    "pixels from 16 and 32 only": ({"fused_strides": (16, 32), "coarse_strides": ALL}, {}),
    "stride 32 only": ({"fused_strides": (32,), "coarse_strides": (32,)}, {}),
    "all strides, no evidence maps": (
        {"fused_strides": ALL, "coarse_strides": ALL},
        {"evidence_map_dropout": 1.0},
    ),
}
POSITIVES = 1000  # pixels that a class of a source must have to be counted


def small(folder: Path, seed: int, **vision: Any) -> None:
    """Write a small model from nothing."""
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)
    torch.manual_seed(seed)
    model = SpexModel(
        make_config("base", tokenizer, vision_config={**SMALL, **vision}, pixel_dim=16)
    )
    model.save_pretrained(folder)
    SpexProcessor(tokenizer, 0, 1).save_pretrained(str(folder))


def trained(records: str, out: Path, arm: str, seed: int, steps: int) -> dict[str, float]:
    """IoU per ``source/class`` of one arm and seed; a run that is there is not made again."""
    vision, changes = ARMS[arm]
    here = out / f"{arm.replace(' ', '_').replace(',', '')}_{seed}"
    if not (here / "checkpoint/model.safetensors").exists() or not (here / "iou.json").exists():
        small(here / "start", seed, **vision)
        given: dict[str, Any] = {"evidence_map_dropout": 0.1, **changes}
        settings = MaskSettings(
            data=records,
            out=str(here),
            init_from=str(here / "start"),
            max_steps=steps,
            max_minutes=1e4,
            crop_size=64,
            learning_rate=1e-3,
            threads=torch.get_num_threads(),
            seed=seed,
            source_weights={"simulated": 0.25},
            **given,
        )
        run_stage(settings)
        folder = str(here / "checkpoint")
        trainer = MaskTrainer(SpexModel.from_pretrained(folder, dtype=torch.float32))
        trainer.class_prompts.data.copy_(load_class_prompts(folder))
        found = pooled_iou(trainer, records, use_evidence="evidence_map_dropout" not in changes)
        kept = {
            name: float(iou) for name, (iou, positives) in found.items() if positives > POSITIVES
        }
        (here / "iou.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return json.loads((here / "iou.json").read_text(encoding="utf-8"))


def pooled_iou(
    trainer: MaskTrainer, folder: str, use_evidence: bool
) -> dict[str, tuple[float, int]]:
    """IoU of pooled pixels on validation places, and number of positive pixels, by source/class."""
    stream = CropStream(load_chips(folder, "val"), 128, {}, 0.0)
    counts: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)
    trainer.eval()
    with torch.no_grad(), autocast(torch.device("cpu")):
        for chip in stream.chips:
            batch = collate([stream.draw(rng, chip, radiometry=False)])
            if not use_evidence:
                batch.evidence.zero_()
            logits, _ = trainer(batch)
            masks = (logits[0] > 0).numpy()
            labels = batch.labels[0].numpy()
            for number, name in enumerate(CLASS_NAMES):
                known = labels[number] >= 0
                if known.any():
                    truth = labels[number][known] > 0
                    mask = masks[number][known]
                    row = np.array([(truth & mask).sum(), (truth | mask).sum(), truth.sum()])
                    key = f"{chip.source}/{name}"
                    counts[key] = counts.get(key, 0) + row
    return {name: (row[0] / max(row[1], 1), int(row[2])) for name, row in sorted(counts.items())}


class PartedPredictor:
    """The checkpoint asked with or without evidence text, and with or without evidence maps."""

    name, sha256 = "parted", None

    def __init__(self, predictor: ModelPredictor, text: bool, maps: bool) -> None:
        parts = (predictor.model, predictor.processor, predictor.name, predictor.sha256)
        self.prompter = ModelPredictor(*parts, use_evidence=text)
        self.decoder = ModelPredictor(*parts, use_evidence=maps)

    def open(self, overview: Pixels, evidence: SceneEvidence) -> PartedScene:
        """Open the scene for both parts."""
        prompter = self.prompter.open(overview, evidence)
        return PartedScene(prompter, self.decoder.open(overview, evidence))


class PartedScene:
    """Prompts of one predictor, decoded by another."""

    def __init__(self, prompter: ModelScenePredictor, decoder: ModelScenePredictor) -> None:
        self.prompter = prompter
        self.decoder = decoder
        self.features = decoder.features

    def decode(
        self, features: Any, class_names: Sequence[str], pixels: Pixels
    ) -> NDArray[np.float32]:
        """As of a scene predictor."""
        weights = [self.prompter.class_weights(name) for name in class_names]
        return self.decoder.probabilities(features, weights)


def asked(records: Path, limit: int) -> Scores:
    """Scores of the shipped checkpoint by what it is given, on so many scenes of each source."""
    predictor = load()
    methods = {
        f"{'text' if text else 'no text'}, {'maps' if maps else 'no maps'}": PredictorMethod(
            PartedPredictor(predictor, text, maps)
        )
        for maps, text in product((True, False), repeat=2)
    }
    scores, sources = Scores(), dict[str, list[SpieRecord]]()
    for one in (
        one for shard in sorted(records.glob("survey_*.parquet")) for one in read_records(shard)
    ):
        if one.split == "val":
            sources.setdefault(one.source, []).append(one)
    for surveys in sources.values():
        for case in cases(surveys[:: -(-len(surveys) // limit)]):
            scores.add(case, methods)
    return scores


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--limit",
        type=int,
        default=10_000,
        help="validation scenes of a source asked for the second table",
    )
    given = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(given.seeds):
        for arm in ARMS:
            results.setdefault(arm, []).append(
                trained(str(given.records), given.out, arm, seed, given.steps)
            )
    print(
        f"\nSmall models, {given.steps} steps of 8 crops of 64 pixels, {given.seeds} seeds: IoU\n"
    )
    names = list(next(iter(results.values()))[0])
    for arm, runs in results.items():
        means = [float(np.mean(list(run.values()))) for run in runs]
        print(f"{arm:34} mean {np.mean(means):.3f} ({min(means):.3f} to {max(means):.3f})")
    print("\n" + "".join(f"{number:>8}" for number in range(1, len(results) + 1)))
    for name in names:
        print(
            "".join(f"{np.mean([run[name] for run in runs]):8.3f}" for runs in results.values()),
            f" {name}",
        )
    print(
        "\nThe shipped checkpoint with and without evidence: IoU\n\n"
        + asked(given.records, given.limit).table("iou")
    )


if __name__ == "__main__":
    main()
