"""Between people's things and tensors: text to token ids, scenes to band batches and padded pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from spex.model.language_model import Vocabulary
from spex.query.prompt import Exchange, user_message
from spex.raster.scene import Pixels


class SpexProcessor:
    """The tokenizer with the chat format, and the padding of images; saved beside the model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, visual_tokens: int, stride: int) -> None:
        self.tokenizer, self.visual_tokens, self.stride = tokenizer, visual_tokens, stride

    @cached_property
    def words(self) -> Vocabulary:
        """What each token adds to an answer."""
        return Vocabulary.of(self.tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str, config: Any) -> SpexProcessor:
        """Load the tokenizer of a checkpoint folder and fit it to the model's config."""
        return cls.of(AutoTokenizer.from_pretrained(folder, local_files_only=True), config)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, config: Any) -> SpexProcessor:
        """A tokenizer and the image sizes that a model's config asks for."""
        vision = config.vision_config
        return cls(
            tokenizer, config.visual_grid**2, vision.patch_size * 2 ** (len(vision.depths) - 1)
        )

    def save_pretrained(self, folder: str) -> None:
        """Write the tokenizer files."""
        self.tokenizer.save_pretrained(folder)

    def encode(
        self, query: str, prior: str, answer: str | None = None, history: Sequence[Exchange] = ()
    ) -> tuple[list[int], int]:
        """Token ids of a conversation and where the last answer begins (the length, when there is none yet).

        Visual tokens and prior text stand in the first turn of the person, whatever was asked first.
        """
        turns = []
        for number, one in enumerate((*history, Exchange(query, ""))):
            given = (prior, self.visual_tokens) if number == 0 else ("", 0)
            turns.append({"role": "user", "content": user_message(one.query, *given)})
            turns.append({"role": "assistant", "content": one.answer})
        turns.pop()
        text = self.tokenizer.apply_chat_template(  # models that can think aloud are asked not to
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        start = len(ids)
        if answer is not None:
            ids = (
                ids
                + self.tokenizer(answer, add_special_tokens=False)["input_ids"]
                + [self.tokenizer.eos_token_id]
            )
        return ids, start

    def pixels(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Values (C, H, W) and validity (H, W), padded at the lower right to a multiple of the encoder's stride."""
        height, width = pixels.valid.shape
        pad = (0, -width % self.stride, 0, -height % self.stride)
        values = F.pad(torch.from_numpy(np.ascontiguousarray(pixels.values, np.float32)), pad)
        return values, F.pad(torch.from_numpy(np.ascontiguousarray(pixels.valid)), pad)
