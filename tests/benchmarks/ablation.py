"""What aggregation, evidence maps and prior text are worth: IoU on validation places.

Aggregation and evidence maps: small models trained alike by stage ``masks``, one per arm and
seed. Prior text and evidence maps of a finished checkpoint: each given or withheld as the scene
is asked, all else unchanged.

    python tests/benchmarks/ablation.py RECORDS -o OUT          # RECORDS: spex spie build
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from spex.evaluate import Case, QueryMethod, cases
from spex.evidence.scene_evidence import measure
from spex.model.config import make_config
from spex.model.predictor import SHIPPED, ModelPredictor, load
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import Plan
from spex.records import SpieRecord, read_records
from spex.scores import Scores
from train.settings import MaskSettings
from train.stages.launch import run_stage
from train.stages.masks import MaskTrainer, evaluate, load_prompts

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
        trainer.class_prompts.data.copy_(load_prompts(folder))
        found = evaluate(trainer, records, use_evidence="evidence_map_dropout" not in changes)
        kept = {
            name: float(iou) for name, (iou, positives) in found.items() if positives > POSITIVES
        }
        (here / "iou.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return json.loads((here / "iou.json").read_text(encoding="utf-8"))


class Parted(QueryMethod):
    """The checkpoint asked with or without prior text, and with or without evidence maps."""

    def __init__(self, predictor: ModelPredictor, text: bool, maps: bool) -> None:
        super().__init__(predictor)
        self.model, self.text, self.maps = predictor, text, maps

    def __call__(self, case: Case) -> Any:
        self.model.prior = self.maps
        return super().__call__(
            replace(case, evidence=measure(case.pixels))
        )  # its own context: nothing is shared

    def _plan(self, case: Case, query: str, labelled: Any) -> Plan:
        self.model.prior = self.text
        plan = super()._plan(case, query, labelled)
        self.model.prior = self.maps
        return plan


def asked(records: Path, limit: int) -> Scores:
    """Scores of the shipped checkpoint by what it is given, on so many scenes of each source."""
    predictor = load()
    doors = {
        f"{'text' if t else 'no text'}, {'maps' if m else 'no maps'}": Parted(predictor, t, m)
        for m in (True, False)
        for t in (True, False)
    }
    scores, sources = Scores(), dict[str, list[SpieRecord]]()
    for one in (
        one for shard in sorted(records.glob("survey_*.parquet")) for one in read_records(shard)
    ):
        if one.split == "val":
            sources.setdefault(one.source, []).append(one)
    for surveys in sources.values():
        for case in cases(surveys[:: -(-len(surveys) // limit)]):
            scores.add(case, doors)
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
