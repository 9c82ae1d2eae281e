"""Stage ``pretrain``: the encoder as a masked autoencoder over mixed sensors, before it ever sees a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spex.errors import ConfigError, ModelError, RecordError
from spex.model.config import SIZES, SpecAwareConfig
from spex.model.embedding import standardise
from spex.model.encoder import SpecAwareEncoder
from spex.model.reconstruct import MaskedAutoencoder, reconstruction_loss
from train.data.record_folder import RecordFolder
from train.data.unlabelled import (
    CELL,
    PixelStream,
    PretrainBatch,
    image_probabilities,
    load_images,
    survey_records,
)
from train.run.loop import Validation, run
from train.run.reconstructions import draw, shown_images
from train.run.validation import loss_validation
from train.settings import PretrainSettings

_ENCODER, _DECODER = "model.safetensors", "decoder.safetensors"


def save(model: MaskedAutoencoder, folder: Path) -> None:
    """Write the encoder, and beside it what only pre-training needs."""
    model.encoder.save_pretrained(folder)
    rest = {
        k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("encoder.")
    }
    save_file(rest, folder / _DECODER)


def load(folder: str | Path) -> MaskedAutoencoder:
    """A checkpoint of this stage, in full precision.

    Not by ``from_pretrained``, which under ZeRO-3 waits for all processes; pictures are drawn by one.

    Raises:
        ModelError: it lacks the encoder or the decoder, or they do not fit.
    """
    for name in (_ENCODER, _DECODER):
        if not Path(folder, name).is_file():
            raise ModelError(f"no {name} in {folder}; give a checkpoint of stage pretrain")
    model = MaskedAutoencoder(
        SpecAwareEncoder(SpecAwareConfig.from_pretrained(folder, local_files_only=True))
    )
    encoder = {
        f"encoder.{name}": value for name, value in load_file(Path(folder, _ENCODER)).items()
    }
    try:
        model.load_state_dict(encoder | load_file(Path(folder, _DECODER)))
    except RuntimeError as error:
        raise ModelError(f"{folder} does not fit this version: {error}") from error
    return model


def losses(model: nn.Module, batch: PretrainBatch) -> dict[str, Tensor]:
    """Loss terms of a batch."""
    found = model(batch.values, batch.valid, batch.bands, batch.visible, batch.target_bands)
    return reconstruction_loss(
        found, standardise(batch.target), batch.loss_mask, batch.target_bands.present
    )


def train(settings: PretrainSettings) -> list[dict[str, float]]:
    """Run the stage; each validation draws reconstructions of a few images into ``samples``.

    Raises:
        ConfigError: crops that are not of whole cells, or a share of hidden cells that is not between 0 and 1.
    """
    if settings.crop_size < CELL or settings.crop_size % CELL:
        raise ConfigError(
            f"crop_size={settings.crop_size}; stage pretrain takes multiples of {CELL}"
        )
    torch.manual_seed(settings.seed)
    if settings.init_from:
        model = load(settings.init_from)
    else:
        model = MaskedAutoencoder(
            SpecAwareEncoder(SpecAwareConfig(**SIZES[settings.model_size]["vision_config"]))
        )
    records = survey_records(settings.data)
    stream = _stream(settings, records, "train")
    validation = _validation(settings, records) if settings.eval_steps else None
    return run(
        settings,
        model,
        stream.draw,
        losses,
        lambda folder: save(model, folder),
        validation=validation,
    )


def _stream(settings: PretrainSettings, records: RecordFolder, split: str) -> PixelStream:
    images = load_images(records, split)
    rate = image_probabilities(images, settings.source_weights)
    return PixelStream(
        images, rate, settings.crop_size, settings.batch_size, settings.mask_ratio, settings.seed
    )


def _validation(settings: PretrainSettings, records: RecordFolder) -> Validation:
    """Loss on validation places, and reconstructions of a few images."""
    if not len(records.split("val")):
        raise RecordError(
            f"no survey records of split 'val' in {settings.data}; set eval_steps=0, or build some"
        )
    stream = _stream(settings, records, "val")
    batches = [
        stream.draw(number, 0) for number in range(-(-settings.eval_records // settings.batch_size))
    ]
    shown = shown_images(records, settings.crop_size)

    def losses_of(checkpoint: Path) -> Callable[[PretrainBatch], dict[str, Tensor]]:
        model = load(checkpoint).eval()
        return lambda batch: losses(model, batch)

    def sample(checkpoint: Path, stem: Path) -> None:
        draw(load(checkpoint), shown, settings.mask_ratio, stem.with_suffix(".png"))

    return loss_validation(settings, batches, losses_of, sample)
