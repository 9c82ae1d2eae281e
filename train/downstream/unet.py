"""The baseline of the encoder: a U-Net, or its contracting half, for one fixed set of bands.

After Ronneberger et al., "U-Net" (arXiv 1505.04597), with batch normalisation. Group normalisation
would remove the absolute level of a chip, and lakes would then look like fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from train.downstream.examples import Example

_LEVELS = 4  # halvings
_WIDTHS = range(4, 129, 4)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.GELU(),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Class logits per pixel, or per image from the contracting half alone.

    Args:
        examples: Training examples; the mean and deviation of their bands standardise the input.
        class_count: Number of classes K.
        width: Channels at full resolution.
        dense: Whether there are logits per pixel; False for scene classification.
    """

    def __init__(
        self, examples: Sequence[Example], class_count: int, width: int, dense: bool
    ) -> None:
        super().__init__()
        columns = [
            _all_bands(example)[:, _valid(example)].astype(np.float32) for example in examples
        ]
        pixels = np.concatenate(columns, 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.from_numpy(pixels.mean(1)))
        self.register_buffer("std", torch.from_numpy(pixels.std(1)) + 1e-4)
        widths = [width * 2**level for level in range(_LEVELS + 1)]
        inputs = [len(pixels), *widths[:-1]]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip(inputs, widths, strict=True)
        )
        steps_up = list(zip(widths[:0:-1], widths[-2::-1], strict=True)) if dense else []
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, high, 2, 2) for deep, high in steps_up)
        self.merge = nn.ModuleList(_block(2 * high, high) for _, high in steps_up)
        self.dense = dense
        if dense:
            self.last: nn.Module = nn.Conv2d(width, class_count, 1)
        else:
            self.last = nn.Linear(2 * widths[-1], class_count)

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of each example, (K, h, w) or (K,); the examples are of equal size."""
        x = self._standardised_batch(examples)
        height, width = x.shape[-2:]
        step = 2**_LEVELS
        x = F.pad(x, (0, -width % step, 0, -height % step))
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        if not self.dense:
            return list(self.last(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return list(self.last(x)[..., :height, :width])

    def _standardised_batch(self, examples: Sequence[Example]) -> Tensor:
        """Standardised values (B, C, h, w) of all dates, 0 where invalid."""
        device = self.mean.device
        stacked = np.stack([_all_bands(example) for example in examples])
        values = torch.from_numpy(stacked).to(device).float()
        valid = torch.from_numpy(np.stack([_valid(example) for example in examples]))
        standardised = (values - self.mean[:, None, None]) / self.std[:, None, None]
        values = torch.where(valid[:, None].to(device), standardised, 0)
        return values.contiguous(memory_format=torch.channels_last)


def _all_bands(example: Example) -> NDArray[np.floating]:
    """The bands of all dates, (C, h, w)."""
    return np.concatenate([pixels.values for pixels in example.dates])


def _valid(example: Example) -> NDArray[np.bool_]:
    """Where all dates are valid, (h, w)."""
    return np.logical_and.reduce([pixels.valid for pixels in example.dates])


def unet_of_size(
    examples: Sequence[Example], class_count: int, dense: bool, parameter_count: int
) -> UNet:
    """The U-Net whose number of parameters is nearest to one given.

    Args:
        examples: As for :class:`UNet`.
        class_count: Number of classes K.
        dense: Whether there are logits per pixel.
        parameter_count: The number wanted.
    """

    def distance(width: int) -> int:
        with torch.device("meta"):
            unet = UNet(examples[:1], class_count, width, dense)
        return abs(sum(parameter.numel() for parameter in unet.parameters()) - parameter_count)

    return UNet(examples, class_count, min(_WIDTHS, key=distance), dense)
