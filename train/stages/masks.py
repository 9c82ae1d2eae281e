"""Stage ``masks``: encoder, aggregation, refiner and pixel decoder learn every labelled class at once.

Instead of the language model, a table of prompt tokens per class stands in; ``instruct`` later replaces it by what
the language
model condenses from an answer. The table is kept beside the checkpoint (``class_prompts.safetensors``), not in the
model.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spex.evidence.classes import classes
from spex.model.decoder import mask_logits
from spex.model.precision import autocast
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import format_span
from train.data.crops import CropStream, MaskBatch, collate
from train.data.random_state import rng_at
from train.data.training_chips import CLASS_NAMES, load_chips
from train.run.loop import run
from train.run.lora import merged_state
from train.run.losses import mask_losses, presence_loss
from train.run.validation import ClassPromptMethod, mask_validation
from train.settings import MaskSettings

PROMPTS_FILE = "class_prompts.safetensors"
_FROZEN = {"language": 0.0, "condensation": 0.0, "project": 0.0, "place": 0.0}


class MaskTrainer(nn.Module):
    """The model with a table of prompt tokens per class."""

    def __init__(self, model: SpexModel) -> None:
        super().__init__()
        config = model.config
        self.model = model
        self.class_prompts = nn.Parameter(
            torch.randn(len(CLASS_NAMES), config.prompt_tokens, config.prompt_dim) * 0.5
        )

    def forward(self, batch: MaskBatch) -> tuple[Tensor, Tensor]:
        """Mask logits (B, classes, H, W) and presence logits (B, classes)."""
        context, fused = self.model.context(batch.values, batch.valid, batch.bands)
        return all_classes(
            self.model,
            self.class_prompts,
            context.coarse,
            self.model.features(fused, batch.evidence),
        )


def all_classes(
    model: SpexModel, prompts: Tensor, coarse: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Mask logits (B, classes, H, W) and presence logits (B, classes) that a table of class prompts gives."""
    size, count = len(coarse), len(prompts)
    weights = model.refiner(prompts.repeat(size, 1, 1), coarse.repeat_interleave(count, 0)).view(
        size, count, -1
    )
    return torch.stack(
        [mask_logits(f, w) for f, w in zip(features, weights, strict=True)]
    ), weights[..., -1]


def class_losses(logits: Tensor, presence: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """BCE, Dice and presence of all classes: logits (B, classes, H, W), presence (B, classes), labels as the logits."""
    flat = labels.flatten(0, 1)
    bce, dice = mask_losses(logits.flatten(0, 1), flat)
    return {"bce": bce, "dice": dice, "presence": presence_loss(presence.flatten(), flat)}


def save(trainer: MaskTrainer, processor: SpexProcessor, folder: Path) -> None:
    """Write model, tokenizer and table."""
    trainer.model.save_pretrained(folder, state_dict=merged_state(trainer.model))
    processor.save_pretrained(str(folder))
    save_file({"class_prompts": trainer.class_prompts.detach().contiguous()}, folder / PROMPTS_FILE)


@torch.no_grad()
def load_prompts(folder: str | Path) -> Tensor:
    """The table (classes, K, prompt_dim) of a checkpoint; one without, as models ship, condenses it from bare spans."""
    if Path(folder, PROMPTS_FILE).exists():
        return load_file(Path(folder, PROMPTS_FILE))["class_prompts"]
    model = SpexModel.from_pretrained(
        str(folder), local_files_only=True, dtype=torch.float32
    ).eval()
    processor = SpexProcessor(
        SpexProcessor.from_pretrained(str(folder), model.config).tokenizer, 0, 1
    )
    prompts = []
    for name in CLASS_NAMES:
        title = classes()[name].title
        ids, start = processor.encode(title, "", format_span(name, title))
        rows = torch.tensor([ids])
        hidden = model.language.get_decoder()(input_ids=rows, use_cache=False).last_hidden_state
        prompts.append(model.prompts(hidden, model.spans(rows, torch.tensor([start]))))
    return torch.cat(prompts)


def train(
    settings: MaskSettings, model: SpexModel, processor: SpexProcessor
) -> list[dict[str, float]]:
    """Run the stage."""
    torch.manual_seed(settings.seed)
    trainer = MaskTrainer(model)
    if settings.init_from:
        trainer.class_prompts.data.copy_(load_prompts(settings.init_from))
    settings = replace(settings, lr_scale={**settings.lr_scale, **_FROZEN})
    chips = load_chips(settings.data, "train")
    stream = CropStream(
        chips, settings.crop_size, settings.source_weights, settings.evidence_map_dropout
    )

    def draw(step: int, process: int) -> MaskBatch:
        rng = rng_at(settings.seed, step, process)
        return collate([stream.draw(rng) for _ in range(settings.batch_size)])

    def losses(part: nn.Module, batch: MaskBatch) -> dict[str, Tensor]:
        return class_losses(*part(batch), batch.labels)

    validation = mask_validation(
        settings, lambda predictor, folder: ClassPromptMethod(predictor, load_prompts(folder))
    )
    return run(
        settings,
        trainer,
        draw,
        losses,
        lambda folder: save(trainer, processor, folder),
        validation=validation,
    )


def evaluate(
    trainer: MaskTrainer, folder: str, limit: int = 1_000, use_evidence: bool = True
) -> dict[str, tuple[float, int]]:
    """IoU per ``source/class`` on the validation places (pooled pixels at 0.5) and the number of positive pixels."""
    stream = CropStream(load_chips(folder, "val"), 128, {}, 0.0)
    counts: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)
    trainer.eval()
    with torch.no_grad(), autocast(torch.device("cpu")):
        for chip in islice(stream.chips, limit):
            batch = collate([stream.draw(rng, chip, radiometry=False)])
            if not use_evidence:
                batch.evidence.zero_()
            logits, _ = trainer(batch)
            found, labels = (logits[0] > 0).numpy(), batch.labels[0].numpy()
            for i, name in enumerate(CLASS_NAMES):
                known = labels[i] >= 0
                if known.any():
                    truth, mine = labels[i][known] > 0, found[i][known]
                    row = np.array([(truth & mine).sum(), (truth | mine).sum(), truth.sum()])
                    counts[f"{chip.source}/{name}"] = counts.get(f"{chip.source}/{name}", 0) + row
    trainer.train()
    return {name: (row[0] / max(row[1], 1), int(row[2])) for name, row in sorted(counts.items())}
