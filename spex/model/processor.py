"""Between people's things and tensors: text to token ids, scenes to band batches and padded pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from spex.prompts import CHAT_TEMPLATE, IMAGE_TOKEN, SPECIAL_TOKENS, Exchange, user_message
from spex.raster.scene import Pixels


class SpexProcessor:
    """The tokenizer with the chat format, and the padding of images; saved beside the model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, visual_tokens: int, stride: int) -> None:
        self.tokenizer, self.visual_tokens, self.stride = tokenizer, visual_tokens, stride

    @classmethod
    def from_pretrained(cls, folder: str, config: Any) -> SpexProcessor:
        """Load the tokenizer of a checkpoint folder and fit it to the model's config."""
        vision = config.vision_config
        stride = vision.patch_size * 2 ** (len(vision.depths) - 1)
        return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True), config.visual_grid**2, stride)

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
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        start = len(ids)
        if answer is not None:
            ids = ids + self.tokenizer(answer, add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id]
        return ids, start

    def pixels(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Values (C, H, W) and validity (H, W), padded at the lower right to a multiple of the encoder's stride."""
        height, width = pixels.valid.shape
        pad = (0, -width % self.stride, 0, -height % self.stride)
        values = F.pad(torch.from_numpy(np.ascontiguousarray(pixels.values, np.float32)), pad)
        return values, F.pad(torch.from_numpy(np.ascontiguousarray(pixels.valid)), pad)


def extend_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Give any tokenizer the span and slot tokens, and a chat template where it has none."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = CHAT_TEMPLATE
    assert tokenizer.convert_tokens_to_ids(IMAGE_TOKEN) is not None
    return tokenizer
