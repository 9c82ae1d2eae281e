"""Answers from the language model: greedy, within the grammar, several conversations at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from spex.evidence.indices import OFFERED_INDICES
from spex.model.grammar import SpanGrammar
from spex.model.language_model import Vocabulary
from spex.model.precision import autocast
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.prompt import Exchange

_MAX_TOKENS = 256


@dataclass(frozen=True)
class GenerationRequest:
    """One query about a scene, as the next turn after ``history``.

    Attributes:
        query: as ``clean_query`` returns it.
        evidence_text: of the scene; may be empty.
        indices: spectral indices that the scene's bands allow.
        history: the exchanges before.
    """

    query: str
    evidence_text: str = ""
    indices: tuple[str, ...] = OFFERED_INDICES
    history: tuple[Exchange, ...] = ()


class _Writer:
    """One answer while it is written."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self.grammar = SpanGrammar(request.query, request.indices, request.history)
        self.vocabulary = vocabulary
        self.written = b""
        self.ended = False

    def write(self, scores: Tensor) -> int:
        """Append the best token by ``scores`` (V,); an answer that has ended stays as it is."""
        if self.ended:
            return self.vocabulary.end
        token = self.grammar.choose(self.written, scores, self.vocabulary)
        self.ended = token == self.vocabulary.end
        if not self.ended:
            self.written += self.vocabulary.piece(token)
        return token

    @property
    def text(self) -> str:
        """The answer; one that did not end is cut back to whole sentences."""
        text = self.written.decode(errors="ignore")
        return text.strip() if self.ended else text[: text.rfind(". ") + 1]


def write(
    model: SpexModel,
    processor: SpexProcessor,
    visual: Tensor,
    requests: Sequence[GenerationRequest],
) -> list[str]:
    """Answer requests about one scene together, with a cache of keys and values.

    Args:
        model: in evaluation mode.
        processor: of the same checkpoint.
        visual: the scene's visual tokens (1, N, text_dim).
        requests: about that scene.

    Returns:
        The answers.
    """
    language = model.language
    device = model.device
    writers = [_Writer(request, processor.vocabulary) for request in requests]
    rows, mask = _padded_prompts(processor, requests)
    mask = mask.to(device)
    embeds = model.embed(rows.to(device), visual.expand(len(requests), -1, -1))
    position = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=language.config)
    for step in range(_MAX_TOKENS):
        # A prompt is read faster in bfloat16. For a single token, a CPU loses more by converting
        # the weights than it gains.
        with autocast(device) if step == 0 or device.type != "cpu" else nullcontext():
            hidden = language.get_decoder()(
                inputs_embeds=embeds,
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            scores = language.get_output_embeddings()(hidden[:, -1]).float()
        tokens = [writer.write(row) for writer, row in zip(writers, scores, strict=True)]
        if all(writer.ended for writer in writers):
            break
        embeds = language.get_input_embeddings()(torch.tensor(tokens, device=device)[:, None])
        mask = torch.cat([mask, mask.new_ones(len(requests), 1)], 1)
        position = position[:, -1:] + 1
    return [writer.text for writer in writers]


def _padded_prompts(
    processor: SpexProcessor, requests: Sequence[GenerationRequest]
) -> tuple[Tensor, Tensor]:
    """Token ids of the prompts, padded at the left, and their attention mask, both (B, T)."""
    prompts = [
        processor.encode(request.query, request.evidence_text, history=request.history)[0]
        for request in requests
    ]
    longest = max(map(len, prompts))
    rows = torch.full((len(prompts), longest), int(processor.tokenizer.pad_token_id))
    mask = torch.zeros_like(rows)
    for row, ids in enumerate(prompts):
        rows[row, longest - len(ids) :] = torch.tensor(ids)
        mask[row, longest - len(ids) :] = 1
    return rows, mask
