"""Stage ``pretrain``: the encoder as a masked autoencoder over mixed sensors, before it ever sees a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spex.model.config import SIZES, SpecAwareConfig
from spex.model.embedding import standardise
from spex.model.encoder import SpecAwareEncoder
from spex.model.reconstruct import MaskedAutoencoder, reconstruction_loss
from train.loop import run
from train.pixels import PixelStream, PretrainBatch, load_images
from train.settings import Settings



def train(settings: Settings) -> list[dict[str, float]]:
    """Run the stage; the checkpoint holds the encoder, and beside it what continuing the stage needs."""
    torch.manual_seed(settings.seed)
    if settings.start:
        encoder = SpecAwareEncoder.from_pretrained(settings.start, local_files_only=True, dtype=torch.float32)
    else:
        encoder = SpecAwareEncoder(SpecAwareConfig(**SIZES[settings.size]["vision_config"]))
    model = MaskedAutoencoder(encoder)
    if settings.start:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(Path(settings.start, "decoder.safetensors")), strict=False)
    stream = PixelStream(load_images(settings.data), settings.crop, settings.batch, settings.hidden, settings.weights, settings.seed)
    loader: Any = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)

    def losses(part: nn.Module, batch: PretrainBatch) -> dict[str, Tensor]:
        found = part(batch.values, batch.valid, batch.bands, batch.visible, batch.wanted)
        return reconstruction_loss(found, standardise(batch.target), batch.counted, batch.wanted.present)

    def save(folder: Path) -> None:
        from safetensors.torch import save_file

        model.encoder.save_pretrained(folder)
        rest = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("encoder.")}
        save_file(rest, folder / "decoder.safetensors")

    return run(settings, model, iter(loader), losses, save)
