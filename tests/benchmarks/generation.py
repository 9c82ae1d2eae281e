"""The cost of reading queries: single, batched, by ``generate``, in int8; visual tokens; strides.

    python tests/benchmarks/generation.py [-m MODEL] [--threads N] [--repeats N]

Every row is measured in this one process, in turns, and told as a multiple of its table's first:
compare ratios.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LogitsProcessor, LogitsProcessorList

from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.model.generation import GenerationRequest, _Writer, write
from spex.model.loading import load
from spex.model.precision import autocast
from spex.model.predictor import ModelPredictor
from spex.model.spex import SpexModel
from spex.raster.sample_scene import write_sample_scene
from spex.raster.scene import Pixels, Scene

QUERIES = (
    "open water",
    "vegetation with NDVI above 0.4",
    "the largest lake",
    "where are forests?",
    "bare soil in the north",
    "water and vegetation",
    "fields larger than 1 ha",
    "grassland but no trees",
)


class Grammar(LogitsProcessor):  # type: ignore[misc]
    """Our writer as ``generate`` asks for it."""

    def __init__(self, writer: _Writer) -> None:
        self.writer = writer

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(scores, -torch.inf)
        kept[0, self.writer.write(scores[0])] = 0
        return kept


def by_hugging_face(predictor: ModelPredictor, visual: torch.Tensor) -> int:
    """Tokens that ``generate`` writes, one query after another, in bfloat16 where that pays."""
    model, processor, count = predictor.model, predictor.processor, 0
    for query in QUERIES:
        ids = torch.tensor([processor.encode(query, "")[0]])
        grammar = Grammar(_Writer(GenerationRequest(query), processor.vocabulary))
        with autocast(model.device):
            count += model.language.generate(
                inputs_embeds=model.embed(ids, visual),
                attention_mask=torch.ones_like(ids),
                max_new_tokens=256,
                do_sample=False,
                logits_processor=LogitsProcessorList([grammar]),
                pad_token_id=processor.tokenizer.pad_token_id,
                eos_token_id=processor.vocabulary.end,
            ).shape[1]
    return count


def ours(model: SpexModel, predictor: ModelPredictor, visual: torch.Tensor, batch: int) -> None:
    """Answer all queries with our loop, ``batch`` at a time."""
    for at in range(0, len(QUERIES), batch):
        requests = [GenerationRequest(query) for query in QUERIES[at : at + batch]]
        write(model, predictor.processor, visual, requests)


def turns(rows: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The shortest processor time of each, seconds; a first round warms up."""
    best = dict.fromkeys(rows, float("inf"))
    for number in range(repeats + 1):
        for name, call in rows.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start) if number else best[name]
    return best


def show(title: str, seconds: dict[str, float]) -> None:
    first = next(iter(seconds.values()))
    print(f"\n{title}\n{'':48}{'cpu ms':>10}{'ratio':>8}")
    for name, one in seconds.items():
        print(f"{name:48}{1000 * one:10.1f}{one / first:8.2f}")


def quantised(model: SpexModel) -> SpexModel:
    """The language model's linear layers in int8, activations quantised as they come."""
    changed = copy.copy(model)
    changed._modules = dict(model._modules)
    changed.language = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(model.language), {torch.nn.Linear}
    )
    return changed


def vision(
    predictor: ModelPredictor, overview: Pixels, evidence: SceneEvidence
) -> dict[str, Callable[[], Any]]:
    """Prompts with more visual tokens; the cost of summing strides for a 512 x 512 tile."""
    model, encoder, rows = predictor.model, predictor.model.encoder, {}
    tile = replace(
        overview,
        values=np.resize(overview.values, (len(overview.values), 512, 512)),
        valid=np.ones((512, 512), bool),
    )

    def read(grid: int) -> None:
        model.config.visual_grid = grid
        model.place = nn.Parameter(torch.zeros(grid**2, model.place.shape[1]))
        predictor.processor.visual_tokens = grid**2
        predictor.open(overview, evidence).class_weights("water")

    scene = predictor.open(overview, evidence)

    def tiles(strides: tuple[int, ...]) -> None:
        encoder.config.coarse_strides = strides
        scene.features(tile)

    for grid in (4, 8, 16):
        rows[f"a class on an overview, {grid**2} visual tokens"] = partial(read, grid)
    for strides in ((16, 32), (4, 8, 16, 32)):
        rows[f"tile of 512 x 512, coarse map of {strides}"] = partial(tiles, strides)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", help="checkpoint; the shipped one if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    predictor = load(given.model)
    with tempfile.TemporaryDirectory() as folder:
        overview = Scene.open(write_sample_scene(Path(folder))).overview()
    evidence = measure(overview)
    model = predictor.model
    visual = predictor.open(overview, evidence).context.visual
    int8 = quantised(model)
    with torch.inference_mode():
        show(
            "8 queries read",
            turns(
                {
                    "one by one": lambda: ours(model, predictor, visual, 1),
                    "in one batch": lambda: ours(model, predictor, visual, 8),
                    "one by one, Hugging Face's generate": lambda: by_hugging_face(
                        predictor, visual
                    ),
                    "one by one, int8": lambda: ours(int8, predictor, visual, 1),
                    "in one batch, int8": lambda: ours(int8, predictor, visual, 8),
                },
                given.repeats,
            ),
        )
        show(
            "Visual tokens and strides", turns(vision(predictor, overview, evidence), given.repeats)
        )


if __name__ == "__main__":
    main()
