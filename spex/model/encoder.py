"""The SpecAware encoder: dense features of any sensor's bands at strides 4, 8, 16 and 32."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextConfig, PreTrainedModel
from transformers.models.convnext.modeling_convnext import ConvNextEncoder
from transformers.utils.generic import ModelOutput

from spex.errors import ConfigError, SceneError
from spex.model.config import SpecAwareConfig
from spex.model.embedding import Kernels, SpecAwareEmbedding
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels, Scene

Image = str | os.PathLike[str] | Scene | Pixels


@dataclass
class Features(ModelOutput):
    """Features of a batch of B images.

    Of a single image the first axis is missing, and sizes are rounded up.

    Attributes:
        maps: four maps (B, D_s, H/s, W/s), s = 4, 8, 16, 32.
        fused: strides aggregated at stride 4 (B, fusion_dim, H/4, W/4).
        coarse: strides aggregated at stride 16 (B, fusion_dim, H/16, W/16).
        pooled: of a single image (2 * fusion_dim,): mean and maximum of ``fused`` over the cells
            with a valid pixel.
    """

    maps: tuple[Tensor, ...] = ()
    fused: Tensor = None  # type: ignore[assignment]  # a ModelOutput wants defaults
    coarse: Tensor = None  # type: ignore[assignment]
    pooled: Tensor = None  # type: ignore[assignment]


class SpecAwareEncoder(PreTrainedModel):
    """A foundation encoder for multispectral and hyperspectral images of any sensor.

    A generated embedding is followed by ConvNeXt stages, which use no statistic over space and no
    absolute position: any size goes in, and tiles of a scene agree with the whole. The size of a
    pixel in metres is known through the GSD, which reaches every stage, with sensor and content,
    as a scale and a shift.

    >>> # a folder of stage pretrain, or of a whole SPEX model
    >>> encoder = SpecAwareEncoder.from_pretrained("encoder")
    >>> features = encoder("scene.tif")  # a path, a Scene or Pixels; here 90 x 70 pixels, 13 bands
    >>> [tuple(m.shape) for m in features.maps]
    [(64, 23, 18), (128, 12, 9), (256, 6, 5), (512, 3, 3)]
    >>> tuple(features.fused.shape), tuple(features.pooled.shape)
    ((128, 23, 18), (256,))

    A scene too large to encode at once is encoded window by window, with kernels made once from
    its overview:

    >>> scene = Scene.open("scene.tif")
    >>> kernels = encoder.kernels(scene)
    >>> west = encoder(scene.read(Window(0, 0, 32, 90)), kernels)

    ``torch.autocast`` around a call computes in bfloat16. ``forward`` takes batches of tensors, for
    training.
    """

    config_class = SpecAwareConfig
    base_model_prefix = "encoder"
    main_input_name = "values"
    _keys_to_ignore_on_load_unexpected = [  # noqa: RUF012  transformers declares it so
        r"^(project|place|language|condensation|refiner|decoder)\b"
    ]

    def __init__(self, config: SpecAwareConfig) -> None:
        super().__init__(config)
        sizes = list(config.hidden_sizes)
        self.stride = config.patch_size * 2 ** (len(config.depths) - 1)
        strides = {config.patch_size * 2**level for level in range(len(sizes))}
        for name, chosen in (("fused", config.fused_strides), ("coarse", config.coarse_strides)):
            if not chosen or not set(chosen) <= strides:
                raise ConfigError(f"{name}_strides={tuple(chosen)}: give some of {sorted(strides)}")
        self.embedding = SpecAwareEmbedding(
            sizes[0], config.hyper_dim, config.rank, config.patch_size
        )
        self.backbone = ConvNextEncoder(
            ConvNextConfig(
                hidden_sizes=sizes, depths=list(config.depths), layer_scale_init_value=0.1
            )
        )
        conditions = [nn.Linear(config.hyper_dim, 2 * size) for size in sizes]
        for layer in conditions:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.condition = nn.ModuleList(conditions)
        self.lateral = nn.ModuleList(nn.Conv2d(size, config.fusion_dim, 1) for size in sizes)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Parts initialise themselves."""

    def forward(
        self,
        values: list[Tensor],
        valid: list[Tensor],
        kernels: Kernels,
        visible: Tensor | None = None,
    ) -> Features:
        """Features of a batch of equal-sized images whose band counts may differ.

        Args:
            values: reflectance (C_i, H, W) per image.
            valid: bool (H, W) per image; H and W multiples of ``stride``.
            kernels: from ``embedding.generate``.
            visible: bool (B, H/32, W/32), the cells of the coarsest stride that the encoder may
                see (all if None); nothing of the others enters any feature.
        """
        tokens = [
            self.embedding.embed(pixels, mask, kernel[: len(pixels)], bias)
            for pixels, mask, kernel, bias in zip(
                values, valid, kernels.kernel, kernels.bias, strict=True
            )
        ]
        features = torch.stack(tokens).contiguous(memory_format=torch.channels_last)
        maps = []
        stages: Any = self.backbone.stages
        for stage, condition in zip(stages, self.condition, strict=True):
            for layer in stage.downsampling_layer:
                features = layer(features)
            modulation = condition(kernels.condition).to(features.dtype)[..., None, None]
            scale, shift = modulation.chunk(2, 1)
            features = features * (1 + scale) + shift
            mask = None if visible is None else on_grid(visible, features).to(features.dtype)
            for layer in stage.layers:
                features = layer(features if mask is None else features * mask)
            features = features if mask is None else features * mask
            maps.append(features)
        return Features(
            maps=tuple(maps),
            fused=self._summed(maps, self.config.fused_strides, 0),
            coarse=self._summed(maps, self.config.coarse_strides, 2),
        )

    def _summed(self, maps: list[Tensor], strides: Collection[int], target: int) -> Tensor:
        """Some strides, projected and summed on the grid of one level.

        Args:
            maps: of all levels, finest first.
            strides: which of them to sum.
            target: level of the result; finer maps are pooled, coarser ones enlarged.
        """
        total: Tensor | None = None
        for level in reversed(range(len(maps))):
            if total is not None and level >= target:
                total = F.interpolate(total, scale_factor=2.0, mode="bilinear")
            if self.config.patch_size * 2**level in strides:
                factor = 2 ** max(0, target - level)
                pooled = F.avg_pool2d(maps[level], factor) if factor > 1 else maps[level]
                projected = self.lateral[level](pooled)
                total = projected if total is None else projected + total
        assert total is not None
        return total

    def __call__(self, image: Any, *args: Any, **kwargs: Any) -> Features:
        """:meth:`encode` of an image, :meth:`forward` of tensors."""
        if isinstance(image, (str, os.PathLike, Scene, Pixels)):
            return self.encode(image, *args, **kwargs)
        return super().__call__(image, *args, **kwargs)

    @torch.no_grad()
    def kernels(self, image: Image) -> Kernels:
        """The kernels of an image, from its bands and content; of a scene, from its overview."""
        image = _opened(image)
        pixels = replace(image.overview(), gsd_m=image.gsd_m) if isinstance(image, Scene) else image
        self.eval()
        return self.embedding.generate(band_batch([pixels]).to(self.device))

    @torch.no_grad()
    def encode(self, image: Image, kernels: Kernels | None = None) -> Features:
        """Dense features and a pooled embedding of an image of any sensor and size.

        The encoder is set to evaluation mode.

        Args:
            image: path, scene or pixels; read into memory as a whole.
            kernels: what :meth:`kernels` returned for the scene that the image is a window of; if
                left out, those of the image itself.

        Raises:
            SceneError: not readable, or no pixel is valid.
            BandError: its bands are not known.
        """
        image = _opened(image)
        kernels = kernels or self.kernels(image)
        pixels = image.read() if isinstance(image, Scene) else image
        if not pixels.valid.any():
            raise SceneError(
                "the image has no valid pixel, so there is nothing to encode; leave it out"
            )
        height, width = pixels.valid.shape
        padding = (0, -width % self.stride, 0, -height % self.stride)
        values = F.pad(torch.from_numpy(pixels.values), padding).to(self.device)
        valid = F.pad(torch.from_numpy(pixels.valid), padding).to(self.device)
        self.eval()
        features = self([values], [valid], kernels)

        def without_padding(feature_map: Tensor) -> Tensor:
            stride = valid.shape[1] // feature_map.shape[-1]
            return feature_map[0, :, : -(-height // stride), : -(-width // stride)]

        fused = without_padding(features.fused)
        any_valid = F.max_pool2d(valid[None, None].float(), self.config.patch_size)
        inside = fused[:, without_padding(any_valid)[0] > 0].float()
        return Features(
            maps=tuple(without_padding(feature_map) for feature_map in features.maps),
            fused=fused,
            coarse=without_padding(features.coarse),
            pooled=torch.cat([inside.mean(1), inside.amax(1)]),
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: Any, *args: Any, dtype: Any = torch.float32, **kwargs: Any
    ) -> Any:
        """Load in float32 from a folder of ``save_pretrained``.

        It may be the encoder's own or that of a whole SPEX model.
        """
        return super().from_pretrained(name, *args, dtype=dtype, **kwargs)


def _opened(image: Image) -> Scene | Pixels:
    return Scene.open(image) if isinstance(image, (str, os.PathLike)) else image


def on_grid(visible: Tensor, like: Tensor) -> Tensor:
    """A mask of coarse cells (B, h, w) on the grid of a feature map: (B, 1, H, W)."""
    factor: Any = like.shape[-1] // visible.shape[-1]
    return visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None]
