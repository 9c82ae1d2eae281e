"""Inputs of the model: text to token ids, images to padded tensors."""

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
    """The tokenizer with the chat format, and the padding of images; saved beside the model.

    Args:
        tokenizer: with the special tokens of SPEX.
        visual_tokens: number of visual tokens in a prompt.
        stride: image sides become multiples of it, pixels.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, visual_tokens: int, stride: int) -> None:
        self.tokenizer = tokenizer
        self.visual_tokens = visual_tokens
        self.stride = stride

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What each token adds to an answer."""
        return Vocabulary.of(self.tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str, config: Any) -> SpexProcessor:
        """Load the tokenizer of a checkpoint folder and fit it to the model's config."""
        return cls.of(AutoTokenizer.from_pretrained(folder, local_files_only=True), config)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, config: Any) -> SpexProcessor:
        """A tokenizer with the image sizes of a model's config."""
        vision = config.vision_config
        stride = vision.patch_size * 2 ** (len(vision.depths) - 1)
        return cls(tokenizer, config.visual_grid**2, stride)

    def save_pretrained(self, folder: str) -> None:
        """Write the tokenizer files."""
        self.tokenizer.save_pretrained(folder)

    def encode(
        self,
        query: str,
        evidence_text: str,
        answer: str | None = None,
        history: Sequence[Exchange] = (),
    ) -> tuple[list[int], int]:
        """Token ids of a conversation, and where the last answer begins.

        Visual tokens and evidence text stand in the first turn of the person.

        Args:
            query: the last query.
            evidence_text: of the scene; may be empty.
            answer: to the last query; where it is None, the ids end with the prompt for it.
            history: the exchanges before.
        """
        turns = []
        for number, exchange in enumerate((*history, Exchange(query, ""))):
            if number == 0:
                message = user_message(exchange.query, evidence_text, self.visual_tokens)
            else:
                message = user_message(exchange.query, "")
            turns.append({"role": "user", "content": message})
            turns.append({"role": "assistant", "content": exchange.answer})
        turns.pop()
        text = self.tokenizer.apply_chat_template(  # a model that can reason aloud must not
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        ids = self._ids(text)
        start = len(ids)
        if answer is not None:
            ids = [*ids, *self._ids(answer), self.tokenizer.eos_token_id]
        return ids, start

    def _ids(self, text: Any) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def pixels(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Values (C, H, W) and validity (H, W), padded to multiples of the encoder's stride.

        The padding is at the right and the bottom; it is not valid.
        """
        height, width = pixels.valid.shape
        padding = (0, -width % self.stride, 0, -height % self.stride)
        values = torch.from_numpy(np.ascontiguousarray(pixels.values, np.float32))
        valid = torch.from_numpy(np.ascontiguousarray(pixels.valid))
        return F.pad(values, padding), F.pad(valid, padding)
