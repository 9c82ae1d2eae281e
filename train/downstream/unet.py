"""What an encoder for any sensor is compared with: a U-Net (or its contracting half) for one fixed set of bands.

After Ronneberger et al., "U-Net" (arXiv 1505.04597), with batch normalisation: group normalisation takes the absolute
level out of a chip, and lakes then look like fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.downstream.examples import Example

_LEVELS = 4  # halvings


def _block(given: int, made: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (given, made):
        layers += [
            nn.Conv2d(channels, made, 3, padding=1, bias=False),
            nn.BatchNorm2d(made),
            nn.GELU(),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Class logits of whole images (K, h, w), or one vector (K,) per image from the contracting half alone.

    Args:
        examples: training examples; their band means and deviations standardise what it is given. classes: K.
        width: channels at full resolution. dense: False for scene classification.
    """

    def __init__(self, examples: Sequence[Example], classes: int, width: int, dense: bool) -> None:
        super().__init__()
        pixels = np.concatenate([_stacked(e)[:, _seen(e)].astype(np.float32) for e in examples], 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.from_numpy(pixels.mean(1)))
        self.register_buffer("std", torch.from_numpy(pixels.std(1)) + 1e-4)
        widths = [width * 2**level for level in range(_LEVELS + 1)]
        self.down = nn.ModuleList(
            _block(a, b) for a, b in zip([len(pixels), *widths], widths, strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True)) if dense else []
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(_block(2 * b, b) for _, b in pairs)
        self.dense = dense
        self.last = nn.Conv2d(width, classes, 1) if dense else nn.Linear(2 * widths[-1], classes)

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of examples, (K, h, w) or (K,) each; examples of a batch are of equal size."""
        device = self.mean.device
        values = torch.from_numpy(np.stack([_stacked(e) for e in examples])).to(device).float()
        seen = torch.from_numpy(np.stack([_seen(e) for e in examples]))[:, None].to(device)
        values = torch.where(seen, (values - self.mean[:, None, None]) / self.std[:, None, None], 0)
        values = values.contiguous(memory_format=torch.channels_last)
        height, width = values.shape[-2:]
        step = 2**_LEVELS
        x, skipped = F.pad(values, (0, -width % step, 0, -height % step)), []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skipped.append(x)
        if not self.dense:
            return list(self.last(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))
        for up, merge, skip in zip(self.up, self.merge, skipped[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return list(self.last(x)[..., :height, :width])


def _stacked(example: Example) -> np.ndarray:
    return np.concatenate([pixels.values for pixels in example.dates])


def _seen(example: Example) -> np.ndarray:
    return np.logical_and.reduce([pixels.valid for pixels in example.dates])


def sized_unet(examples: Sequence[Example], classes: int, dense: bool, parameters: int) -> UNet:
    """The U-Net whose count of parameters is nearest to what is asked for."""

    def distance(width: int) -> int:
        with torch.device("meta"):
            made = UNet(examples[:1], classes, width, dense)
        return abs(sum(p.numel() for p in made.parameters()) - parameters)

    return UNet(examples, classes, min(range(4, 129, 4), key=distance), dense)
