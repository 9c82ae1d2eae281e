"""Stage ``pretrain``: the encoder learns as a masked autoencoder, from pixels of mixed sensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spex.errors import ConfigError, ModelError
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
from train.run.checkpoints import save_checkpoint
from train.run.logger import LogRow
from train.run.loop import Validation, run
from train.run.reconstructions import example_images, write_reconstructions
from train.run.validation import loss_validation, validation_batches, validation_surveys
from train.settings import PretrainSettings

_ENCODER_FILE = "model.safetensors"
_DECODER_FILE = "decoder.safetensors"


def save_autoencoder(model: MaskedAutoencoder, folder: Path) -> None:
    """Write the encoder, and beside it the decoder that only this stage needs."""
    decoder = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("encoder.")
    }
    save_checkpoint(folder, model.encoder, extra={_DECODER_FILE: decoder})


def load_autoencoder(folder: str | Path) -> MaskedAutoencoder:
    """Load a checkpoint of this stage in full precision.

    This does not use ``from_pretrained``, which under ZeRO-3 waits for all processes, because a
    single process draws the pictures of a validation.

    Raises:
        ModelError: The encoder or the decoder is missing or does not fit.
    """
    for name in (_ENCODER_FILE, _DECODER_FILE):
        if not Path(folder, name).is_file():
            raise ModelError(f"no {name} in {folder}; give a checkpoint of stage pretrain")
    config = SpecAwareConfig.from_pretrained(folder, local_files_only=True)
    model = MaskedAutoencoder(SpecAwareEncoder(config))
    weights = load_file(Path(folder, _DECODER_FILE))
    for name, tensor in load_file(Path(folder, _ENCODER_FILE)).items():
        weights[f"encoder.{name}"] = tensor
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{folder} does not fit this version: {error}") from error
    return model


def loss_terms(model: nn.Module, batch: PretrainBatch) -> dict[str, Tensor]:
    """Loss terms of a batch."""
    reconstructed = model(batch.values, batch.valid, batch.bands, batch.visible, batch.target_bands)
    target = standardise(batch.target)
    return reconstruction_loss(reconstructed, target, batch.loss_mask, batch.target_bands.present)


def train(settings: PretrainSettings) -> list[LogRow]:
    """Run the stage; return its log. Each validation draws a few reconstructions.

    Raises:
        ConfigError: ``crop_size`` is not a multiple of the masked cells.
    """
    if settings.crop_size % CELL:
        raise ConfigError(
            f"crop_size={settings.crop_size}; stage pretrain takes multiples of {CELL}"
        )
    torch.manual_seed(settings.seed)
    if settings.init_from:
        model = load_autoencoder(settings.init_from)
    else:
        config = SpecAwareConfig(**SIZES[settings.model_size]["vision_config"])
        model = MaskedAutoencoder(SpecAwareEncoder(config))
    records = survey_records(settings.data)
    stream = _stream(settings, records, "train")

    def save(folder: Path) -> None:
        save_autoencoder(model, folder)

    validation = _validation(settings, records) if settings.eval_steps else None
    return run(settings, model, stream.draw, loss_terms, save, validation=validation)


def _stream(settings: PretrainSettings, records: RecordFolder, split: str) -> PixelStream:
    images = load_images(records, split)
    return PixelStream(
        images,
        image_probabilities(images, settings.source_weights),
        settings.crop_size,
        settings.batch_size,
        settings.mask_ratio,
        settings.seed,
    )


def _validation(settings: PretrainSettings, records: RecordFolder) -> Validation:
    """Loss on validation places, and reconstructions of a few images.

    Raises:
        RecordError: There is no record of a validation place.
    """
    validation_surveys(settings.data)
    batches = validation_batches(settings, _stream(settings, records, "val").draw)
    examples = example_images(records, settings.crop_size)

    def losses_of(checkpoint: Path) -> Callable[[PretrainBatch], dict[str, Tensor]]:
        model = load_autoencoder(checkpoint).eval()
        return lambda batch: loss_terms(model, batch)

    def write_samples(checkpoint: Path, stem: Path) -> None:
        model = load_autoencoder(checkpoint)
        write_reconstructions(model, examples, settings.mask_ratio, stem.with_suffix(".png"))

    return loss_validation(settings, batches, losses_of, write_samples)
