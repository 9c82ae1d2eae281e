"""SpexModel: encoder, aggregation, language model, condensation and mask decoder, wired."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

from spex.model.config import SpecAwareConfig, SpexConfig
from spex.model.decoder import Condensation, PixelDecoder, Pooling, PromptRefiner, mask_logits
from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import BandBatch

TokenSpan = tuple[int, int, int]
"""A span in a batch of token ids: row, first token, and the token after its last."""


@dataclass
class SceneContext:
    """What is computed once per scene, for a batch of B scenes.

    Attributes:
        bands: metadata and content of their bands.
        coarse: aggregated overview (B, fusion_dim, h, w).
        visual: visual tokens (B, visual_grid ** 2, text_dim).
    """

    bands: BandBatch
    coarse: Tensor
    visual: Tensor

    def expand(self, count: int) -> SceneContext:
        """The context of one scene, repeated for ``count`` conversations without a copy."""
        coarse = self.coarse.expand(count, -1, -1, -1)
        return SceneContext(self.bands, coarse, self.visual.expand(count, -1, -1))


@dataclass
class SpexOutput(ModelOutput):
    """What the model reads in a batch of B conversations with S spans in all.

    Attributes:
        logits: of the language model (B, T, vocabulary); None where they were not asked for.
        hidden: last hidden states (B, T, text_dim).
        spans: the S spans in reading order.
        span_owner: conversation of each span (S,); None without spans, as the next two.
        prompts: condensed prompt tokens (S, prompt_tokens, prompt_dim).
        decoder_weights: of each span (S, pixel_dim + 2).
    """

    logits: Tensor | None = None
    hidden: Tensor | None = None
    spans: list[TokenSpan] | None = None
    span_owner: Tensor | None = None
    prompts: Tensor | None = None
    decoder_weights: Tensor | None = None


class SpexModel(PreTrainedModel):
    """The model of SPEX: a scene and a conversation in, an answer with a mask per span out."""

    config_class = SpexConfig
    base_model_prefix = "spex"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: SpexConfig, language: PreTrainedModel | None = None) -> None:
        """A model with random weights.

        Args:
            config: sizes of all parts.
            language: a language model to keep as it is; ``config.text_config`` is then its config.
        """
        super().__init__(config)
        assert isinstance(config.text_config, PreTrainedConfig)
        assert isinstance(config.vision_config, SpecAwareConfig)
        text_dim = config.text_config.hidden_size
        fusion_dim = config.vision_config.fusion_dim
        self.encoder = SpecAwareEncoder(config.vision_config)
        self.project = nn.Sequential(nn.LayerNorm(fusion_dim), nn.Linear(fusion_dim, text_dim))
        self.place = nn.Parameter(torch.zeros(config.visual_grid**2, text_dim))
        self.language = language or AutoModelForCausalLM.from_config(config.text_config)
        condense = Condensation if config.condensation == "attention" else Pooling
        self.condensation = condense(config, text_dim)
        self.refiner = PromptRefiner(config)
        self.decoder = PixelDecoder(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Parts initialise themselves; the language model has its own scheme."""

    def context(
        self, values: list[Tensor], valid: list[Tensor], bands: BandBatch
    ) -> tuple[SceneContext, Tensor]:
        """The context of a batch of overviews (or training chips).

        Args:
            values: reflectance (C_i, H, W) per image, H and W multiples of the encoder's stride.
            valid: bool (H, W) per image.
            bands: metadata and content of the same images.

        Returns:
            The context, and the aggregated maps at stride 4 (B, fusion_dim, H/4, W/4).
        """
        encoded = self.encoder(values, valid, self.encoder.embedding.generate(bands))
        pooled = F.adaptive_avg_pool2d(encoded.coarse, self.config.visual_grid)
        visual = self.project(pooled.flatten(2).transpose(1, 2)) + self.place
        return SceneContext(bands, encoded.coarse, visual), encoded.fused

    def embed(self, input_ids: Tensor, visual: Tensor) -> Tensor:
        """Token embeddings (B, T, text_dim) with visual tokens in place of the image tokens."""
        embeds = self.language.get_input_embeddings()(input_ids)
        is_image = (input_ids == self.config.image_token_id)[..., None].expand_as(embeds)
        return embeds.masked_scatter(is_image, visual.to(embeds.dtype))

    def spans(self, input_ids: Tensor, start: Tensor) -> list[TokenSpan]:
        """Every closed span of a batch of answers, in reading order.

        Args:
            input_ids: conversations (B, T).
            start: where each answer begins (B,).
        """
        spans = []
        for row, ids in enumerate(input_ids.tolist()):
            opened = None
            for position in range(int(start[row]), len(ids)):
                if ids[position] == self.config.seg_start_id:
                    opened = position
                elif ids[position] == self.config.seg_end_id and opened is not None:
                    spans.append((row, opened, position + 1))
                    opened = None
        return spans

    def prompts(self, hidden: Tensor, spans: list[TokenSpan]) -> Tensor:
        """Condensed prompt tokens (S, K, prompt_dim) of spans in hidden states (B, T, text_dim)."""
        lengths = [end - begin for _, begin, end in spans]
        longest = max(lengths)
        states = [
            F.pad(hidden[row, begin:end], (0, 0, 0, longest - (end - begin)))
            for row, begin, end in spans
        ]
        positions = torch.arange(longest, device=hidden.device)[None]
        inside = positions < torch.tensor(lengths, device=hidden.device)[:, None]
        return self.condensation(torch.stack(states), inside)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        start: Tensor,
        context: SceneContext,
        logits: bool = True,
    ) -> SpexOutput:
        """Read conversations with answers.

        Args:
            input_ids: (B, T), padded at the right.
            attention_mask: (B, T), 0 on padding.
            start: where each answer begins (B,).
            context: of the same B scenes.
            logits: whether to compute the language model's logits.
        """
        hidden = self.language.get_decoder()(
            inputs_embeds=self.embed(input_ids, context.visual),
            attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state
        scores = self.language.get_output_embeddings()(hidden) if logits else None
        spans = self.spans(input_ids, start)
        if not spans:
            return SpexOutput(logits=scores, hidden=hidden, spans=spans)
        span_owner = torch.tensor([row for row, _, _ in spans], device=hidden.device)
        prompts = self.prompts(hidden, spans)
        return SpexOutput(
            logits=scores,
            hidden=hidden,
            spans=spans,
            span_owner=span_owner,
            prompts=prompts,
            decoder_weights=self.refiner(prompts, context.coarse[span_owner]),
        )

    def features(self, fused: Tensor, evidence: Tensor) -> Tensor:
        """Full-resolution pixel features (B, pixel_dim, H, W); independent of any query.

        Args:
            fused: aggregated maps at stride 4 (B, fusion_dim, H/4, W/4).
            evidence: evidence maps (B, evidence_channels, H, W).
        """
        return self.decoder(fused, evidence)

    def masks(self, features: Tensor, weights: Tensor) -> Tensor:
        """Calibrated mask logits (S, H, W) of S spans on one image.

        Args:
            features: of the image (pixel_dim, H, W).
            weights: decoder weights (S, pixel_dim + 2).
        """
        return mask_logits(features, weights) / self.config.temperature
