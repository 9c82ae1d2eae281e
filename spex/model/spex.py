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


@dataclass
class SceneContext:
    """What is computed once per scene: its bands and content, the aggregated overview, visual tokens."""

    bands: BandBatch
    coarse: Tensor  # (B, fusion_dim, h, w)
    visual: Tensor  # (B, visual_grid ** 2, text_dim)


@dataclass
class SpexOutput(ModelOutput):
    """Logits of the language model, its last hidden states, and per span the decoder weights in reading order."""

    logits: Tensor | None = None
    hidden: Tensor | None = None
    weights: Tensor | None = None
    owner: Tensor | None = None


class SpexModel(PreTrainedModel):
    """The model of SPEX: a scene and a conversation in, an answer with one mask per ``<seg>`` span out."""

    config_class = SpexConfig
    base_model_prefix = "spex"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: SpexConfig, language: PreTrainedModel | None = None) -> None:
        """Random weights, but for a language model that is given; ``config.text_config`` is then that model's."""
        super().__init__(config)
        assert isinstance(config.text_config, PreTrainedConfig)
        text_dim = config.text_config.hidden_size
        assert isinstance(config.vision_config, SpecAwareConfig)
        self.encoder = SpecAwareEncoder(config.vision_config)
        fusion = config.vision_config.fusion_dim
        self.project = nn.Sequential(nn.LayerNorm(fusion), nn.Linear(fusion, text_dim))
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
        """Scene context of a batch of overviews (or training chips), and their aggregated maps at stride 4."""
        seen = self.encoder(values, valid, self.encoder.embedding.generate(bands))
        pooled = (
            F.adaptive_avg_pool2d(seen.coarse, self.config.visual_grid).flatten(2).transpose(1, 2)
        )
        return SceneContext(bands, seen.coarse, self.project(pooled) + self.place), seen.fused

    def embed(self, input_ids: Tensor, visual: Tensor) -> Tensor:
        """Token embeddings (B, T, text_dim) with the image placeholders replaced by visual tokens."""
        embeds = self.language.get_input_embeddings()(input_ids)
        where = (input_ids == self.config.image_token_id)[..., None].expand_as(embeds)
        return embeds.masked_scatter(where, visual.to(embeds.dtype))

    def spans(self, input_ids: Tensor, start: Tensor) -> list[tuple[int, int, int]]:
        """(row, first token, end token) of every closed span of the answers, which begin at ``start`` (B,)."""
        found = []
        for row, ids in enumerate(input_ids.tolist()):
            opened = None
            for at in range(int(start[row]), len(ids)):
                if ids[at] == self.config.seg_start_id:
                    opened = at
                elif ids[at] == self.config.seg_end_id and opened is not None:
                    found.append((row, opened, at + 1))
                    opened = None
        return found

    def prompts(self, hidden: Tensor, spans: list[tuple[int, int, int]]) -> Tensor:
        """Condensed prompt tokens (S, K, prompt_dim) of spans over hidden states (B, T, text_dim)."""
        longest = max(end - begin for _, begin, end in spans)
        states = torch.stack(
            [
                F.pad(hidden[row, begin:end], (0, 0, 0, longest - end + begin))
                for row, begin, end in spans
            ]
        )
        lengths = torch.tensor([end - begin for _, begin, end in spans], device=hidden.device)
        return self.condensation(
            states, torch.arange(longest, device=hidden.device)[None] < lengths[:, None]
        )

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
            input_ids: (B, T), right-padded. attention_mask: (B, T). start: (B,) where each answer begins.
            context: of the same B scenes. logits: whether to compute the language model's logits (B, T, vocabulary).
        """
        embeds = self.embed(input_ids, context.visual)
        backbone = self.language.get_decoder()
        hidden = backbone(
            inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        spans = self.spans(input_ids, start)
        weights = owner = None
        if spans:
            owner = torch.tensor([row for row, _, _ in spans], device=hidden.device)
            weights = self.refiner(self.prompts(hidden, spans), context.coarse[owner])
        scores = self.language.get_output_embeddings()(hidden) if logits else None
        return SpexOutput(logits=scores, hidden=hidden, weights=weights, owner=owner)

    def features(self, fused: Tensor, evidence: Tensor) -> Tensor:
        """Full-resolution pixel features (B, pixel_dim, H, W); independent of any query."""
        return self.decoder(fused, evidence)

    def masks(self, features: Tensor, weights: Tensor) -> Tensor:
        """Calibrated mask logits (S, H, W) of S spans on one image's features (pixel_dim, H, W)."""
        return mask_logits(features, weights) / self.config.temperature
