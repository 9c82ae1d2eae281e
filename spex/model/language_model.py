"""Any causal language model in a SPEX model: loading it, adding span and slot tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from spex.errors import ConfigError, ModelError
from spex.query.prompt import CHAT_TEMPLATE, SPECIAL_TOKENS

_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}
_FIXED_DATE = "{%- macro strftime_now(format) -%}1 January 2026{%- endmacro -%}"
"""Set before a template that states the day, so that a prompt is the same tomorrow."""


@dataclass(frozen=True)
class Vocabulary:
    """What each token adds to an answer.

    Attributes:
        pieces: bytes of each token, by its id.
        end: id of the token that ends an answer.
    """

    pieces: tuple[bytes, ...]
    end: int

    def piece(self, token: int) -> bytes:
        """Empty for control tokens, and for rows of the embedding that are no token."""
        return self.pieces[token] if token < len(self.pieces) else b""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """Read from a tokenizer: byte-level BPE, or pieces with a fallback to bytes (``<0xE6>``).

        A tokenizer's own ``decode`` does not serve: it gives no bytes, drops the space before a
        first word, and reads an unfinished character as one or several replacement characters.
        """
        byte_level = b"ByteLevel" in tokenizer.backend_tokenizer.decoder.__getstate__()
        added = {token: entry.content for token, entry in tokenizer.added_tokens_decoder.items()}
        control = set(tokenizer.all_special_tokens) - set(SPECIAL_TOKENS)
        vocabulary = tokenizer.get_vocab()
        pieces = [b""] * (max(vocabulary.values()) + 1)
        for text, token in vocabulary.items():
            if token not in added:
                pieces[token] = _bytes_of(text, byte_level)
            elif text not in control:
                pieces[token] = added[token].encode()
        return cls(tuple(pieces), tokenizer.eos_token_id)


def _bytes_of(piece: str, byte_level: bool) -> bytes:
    """The bytes that a piece of a vocabulary stands for."""
    if byte_level and all(character in _BYTES for character in piece):
        return bytes(_BYTES[character] for character in piece)
    if fallback := re.fullmatch("<0x([0-9A-F]{2})>", piece):
        return bytes.fromhex(fallback[1])
    return piece.replace("▁", " ").encode()


def load_language(name: str, bits: int | None = None) -> tuple[PreTrainedModel, Tokenizer]:
    """A causal language model in float32, and its tokenizer.

    Args:
        name: local folder, or id on the Hugging Face hub.
        bits: 4 or 8 for weights quantised by bitsandbytes, on a GPU.

    Raises:
        ConfigError: ``bits`` without a CUDA device or without bitsandbytes.
        ModelError: transformers cannot load it, or its tokenizer has no ``tokenizer.json``.
    """
    options = _quantisation(bits) if bits else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the language model {name!r} cannot be loaded from a folder or the hub: {error}"
        ) from error
    if not getattr(tokenizer, "backend_tokenizer", None):
        raise ModelError(
            f"the tokenizer of {name!r} cannot be read byte by byte; "
            "give one that has a tokenizer.json"
        )
    if bits:
        del model.config.quantization_config  # checkpoints contain plain weights
    return model, tokenizer


def _quantisation(bits: int) -> dict[str, Any]:
    if bits not in (4, 8) or not torch.cuda.is_available() or not find_spec("bitsandbytes"):
        raise ConfigError(
            f"bits={bits} needs 4 or 8, a CUDA device and: pip install bitsandbytes; "
            "or leave it out"
        )
    config = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    return {"quantization_config": config}


def extend_tokenizer(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Give a tokenizer the span and slot tokens it lacks, padding, a chat format and an end token.

    A chat template of its own is kept; an answer then ends as the template ends a turn.

    Returns:
        The new tokens, each with the ids of the pieces that it was read as.
    """
    vocabulary = tokenizer.get_vocab()
    new = {
        token: tokenizer(token, add_special_tokens=False)["input_ids"]
        for token in SPECIAL_TOKENS
        if token not in vocabulary
    }
    if new:
        tokenizer.add_special_tokens(
            {"extra_special_tokens": list(SPECIAL_TOKENS)}, replace_extra_special_tokens=False
        )
    tokenizer.pad_token = SPECIAL_TOKENS[0]
    template = tokenizer.chat_template or CHAT_TEMPLATE
    if "strftime_now" in template and not template.startswith(_FIXED_DATE):
        template = _FIXED_DATE + template
    tokenizer.chat_template = template
    tokenizer.eos_token = _end_of_turn(tokenizer)
    return new


def _end_of_turn(tokenizer: Tokenizer) -> str:
    """The token that the chat template writes behind an answer."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "SPEX"}]
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    behind = text.rpartition("SPEX")[2].lstrip()
    candidates = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    matching = [token for token in candidates if behind.startswith(token)]
    return max(matching, key=len, default=tokenizer.eos_token)


def add_tokens(language: Any, tokenizer: Tokenizer) -> list[str]:
    """Extend a tokenizer, and the embeddings of its language model with it.

    A new token begins as the mean of the pieces that it was read as, so that the model still
    understands it.

    Returns:
        The new tokens.
    """
    new = extend_tokenizer(tokenizer)
    size = max(tokenizer.get_vocab().values()) + 1
    if size > language.get_input_embeddings().weight.shape[0]:
        language.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for layer in (language.get_input_embeddings(), language.get_output_embeddings()):
            for token, ids in new.items():
                layer.weight[tokenizer.convert_tokens_to_ids(token)] = layer.weight[ids].mean(0)
    language.config.eos_token_id = tokenizer.eos_token_id
    language.config.pad_token_id = tokenizer.pad_token_id
    return list(new)
