"""Answers from the language model: greedy, within the grammar, token by token or several conversations at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        prior: prior text of the scene, may be empty. indices: spectral indices that the scene's bands give.
    """

    query: str
    prior: str = ""
    indices: tuple[str, ...] = OFFERED_INDICES
    history: tuple[Exchange, ...] = ()


class _Writer:
    """One answer while it is written."""

    def __init__(self, request: GenerationRequest, words: Vocabulary) -> None:
        self.grammar, self.words = (
            SpanGrammar(request.query, request.indices, request.history),
            words,
        )
        self.written, self.ended = b"", False

    def write(self, scores: Tensor) -> int:
        """Go on with the best token by ``scores`` (V,); an answer that has ended stays as it is."""
        token = (
            self.words.end if self.ended else self.grammar.choose(self.written, scores, self.words)
        )
        self.ended = token == self.words.end
        self.written += b"" if self.ended else self.words.piece(token)
        return token

    @property
    def text(self) -> str:
        """What is written, in whole characters."""
        return self.written.decode(errors="ignore")


def write(
    model: SpexModel,
    processor: SpexProcessor,
    visual: Tensor,
    requests: Sequence[GenerationRequest],
) -> Iterator[list[str]]:
    """Answer requests about one scene together, with a cache of keys and values.

    Args:
        visual: the scene's visual tokens (1, N, text_dim).

    Yields:
        what is written so far of every answer, after each token; at last the answers, cut back to whole sentences
        where one would not end.
    """
    language, device = model.language, model.device
    writers = [_Writer(request, processor.words) for request in requests]
    prompts = [processor.encode(r.query, r.prior, history=r.history)[0] for r in requests]
    longest = max(map(len, prompts))
    rows = [[processor.tokenizer.pad_token_id] * (longest - len(ids)) + ids for ids in prompts]
    mask = torch.tensor(
        [[int(at >= longest - len(ids)) for at in range(longest)] for ids in prompts], device=device
    )
    embeds = model.embed(torch.tensor(rows, device=device), visual.expand(len(rows), -1, -1))
    position = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=language.config)
    for step in range(_MAX_TOKENS):
        # A prompt is read faster in bfloat16; for one token more, a CPU spends longer converting the weights.
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
        yield [writer.text for writer in writers]
        if all(writer.ended for writer in writers):
            break
        embeds = language.get_input_embeddings()(torch.tensor(tokens, device=device)[:, None])
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        position = position[:, -1:] + 1
    yield [w.text.strip() if w.ended else w.text[: w.text.rfind(". ") + 1] for w in writers]
