"""The SpecAware encoder: dense features of any sensor's bands at strides 4, 8, 16, 32, aggregated and pooled."""

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
    """What the encoder sees in a batch of images; without the first axis, and sizes rounded up, in one image.

    Attributes:
        maps: four maps (B, D_s, H/s, W/s), s = 4, 8, 16, 32.
        fused: strides aggregated at stride 4, (B, fusion_dim, H/4, W/4).
        coarse: strides aggregated at stride 16, (B, fusion_dim, H/16, W/16).
        pooled: of one image, (2 * fusion_dim,): mean and maximum of ``fused`` where any pixel is valid.
    """

    maps: tuple[Tensor, ...] = ()
    fused: Tensor = None  # type: ignore[assignment]  # a ModelOutput wants defaults
    coarse: Tensor = None  # type: ignore[assignment]
    pooled: Tensor = None  # type: ignore[assignment]


class SpecAwareEncoder(PreTrainedModel):
    """A foundation encoder for multispectral and hyperspectral images of any sensor.

    A generated embedding is followed by ConvNeXt stages, which hold no statistic over space and no absolute position:
    any size goes in, and tiles of a scene agree with the whole. What a position means in metres is known through the
    GSD, which reaches every stage, with sensor and content, as a scale and a shift.

    >>> encoder = SpecAwareEncoder.from_pretrained("encoder")  # a folder of stage pretrain, or of a whole SPEX model
    >>> seen = encoder("scene.tif")  # a path, a Scene or Pixels; here 90 x 70 pixels, 13 bands
    >>> [tuple(m.shape) for m in seen.maps]
    [(64, 23, 18), (128, 12, 9), (256, 6, 5), (512, 3, 3)]
    >>> tuple(seen.fused.shape), tuple(seen.pooled.shape)
    ((128, 23, 18), (256,))

    A scene too large to encode at once goes window by window, with kernels made once from its overview:

    >>> scene = Scene.open("scene.tif")
    >>> kernels = encoder.kernels(scene)
    >>> west = encoder(scene.read(Window(0, 0, 32, 90)), kernels)

    ``torch.autocast`` around a call computes in bfloat16. ``forward`` takes batches of tensors, for training.
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
            values: one (C_i, H, W) per image. valid: one bool (H, W) per image; H and W multiples of ``stride``.
            kernels: from ``embedding.generate``. visible: bool (B, H/32, W/32), which cells of the coarsest stride
                the encoder may see (all if None); nothing of the others enters any feature.
        """
        kernel, bias = kernels.kernel, kernels.bias
        tokens = torch.stack(
            [
                self.embedding.embed(v, m, kernel[i, : len(v)], bias[i])
                for i, (v, m) in enumerate(zip(values, valid, strict=True))
            ]
        )
        features, maps = tokens.contiguous(memory_format=torch.channels_last), []
        stages: Any = self.backbone.stages
        for stage, condition in zip(stages, self.condition, strict=True):
            for layer in stage.downsampling_layer:
                features = layer(features)
            scale, shift = (
                condition(kernels.condition).to(features.dtype)[..., None, None].chunk(2, 1)
            )
            features = features * (1 + scale) + shift
            seen = None if visible is None else _grown(visible, features)
            for layer in stage.layers:
                features = layer(features if seen is None else features * seen)
            features = features if seen is None else features * seen
            maps.append(features)
        fused = self._summed(maps, self.config.fused_strides, 0)
        return Features(
            maps=tuple(maps), fused=fused, coarse=self._summed(maps, self.config.coarse_strides, 2)
        )

    def _summed(self, maps: list[Tensor], strides: Collection[int], target: int) -> Tensor:
        """Some strides, projected and summed on the grid of level ``target``: finer maps pooled, coarser enlarged."""
        total: Tensor | None = None
        for level in reversed(range(len(maps))):
            if total is not None and level >= target:
                total = F.interpolate(total, scale_factor=2.0, mode="bilinear")
            if self.config.patch_size * 2**level in strides:
                finer = 2 ** max(0, target - level)
                own = self.lateral[level](
                    F.avg_pool2d(maps[level], finer) if finer > 1 else maps[level]
                )
                total = own if total is None else own + total
        assert total is not None
        return total

    def __call__(self, image: Any, *args: Any, **kwargs: Any) -> Features:
        """:meth:`encode` of an image, :meth:`forward` of tensors."""
        if isinstance(image, (str, os.PathLike, Scene, Pixels)):
            return self.encode(image, *args, **kwargs)
        return super().__call__(image, *args, **kwargs)

    @torch.no_grad()
    def kernels(self, image: Image) -> Kernels:
        """The embedding of an image by its bands and its content, of a scene by its overview."""
        image = _opened(image)
        pixels = replace(image.overview(), gsd_m=image.gsd_m) if isinstance(image, Scene) else image
        self.eval()
        return self.embedding.generate(band_batch([pixels]).to(self.device))

    @torch.no_grad()
    def encode(self, image: Image, kernels: Kernels | None = None) -> Features:
        """Dense features and a pooled embedding of an image of any sensor and size, in evaluation mode.

        Args:
            image: path, scene or pixels, held in memory as a whole.
            kernels: from :meth:`kernels`, of the scene that the image is a window of; else those of the image itself.

        Raises:
            SceneError: not readable, or no pixel is valid.
            BandError: its bands are not known.
        """
        image = _opened(image)
        kernels = kernels or self.kernels(image)
        pixels = image.read() if isinstance(image, Scene) else image
        if not pixels.valid.any():
            raise SceneError(
                "no pixel of the image is valid: there is nothing to encode; leave such windows out"
            )
        height, width = pixels.valid.shape
        pad = (0, -width % self.stride, 0, -height % self.stride)
        values = F.pad(torch.from_numpy(pixels.values), pad).to(self.device)
        valid = F.pad(torch.from_numpy(pixels.valid), pad).to(self.device)
        self.eval()
        seen = self([values], [valid], kernels)

        def cut(found: Tensor) -> Tensor:
            stride = valid.shape[1] // found.shape[-1]
            return found[0, :, : -(-height // stride), : -(-width // stride)]

        fused, counted = (
            cut(seen.fused),
            cut(F.max_pool2d(valid[None, None].float(), self.config.patch_size))[0] > 0,
        )
        inside = fused[:, counted].float()
        return Features(
            maps=tuple(cut(found) for found in seen.maps),
            fused=fused,
            coarse=cut(seen.coarse),
            pooled=torch.cat([inside.mean(1), inside.amax(1)]),
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: Any, *args: Any, dtype: Any = torch.float32, **kwargs: Any
    ) -> Any:
        """Load a folder of ``save_pretrained``, the encoder's own or that of a whole SPEX model, in float32."""
        return super().from_pretrained(name, *args, dtype=dtype, **kwargs)


def _opened(image: Image) -> Scene | Pixels:
    return Scene.open(image) if isinstance(image, (str, os.PathLike)) else image


def _grown(visible: Tensor, like: Tensor) -> Tensor:
    """A mask of coarse cells (B, h, w) on the grid of a feature map, (B, 1, H, W)."""
    factor: Any = like.shape[-1] // visible.shape[-1]
    return visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None].to(like.dtype)
