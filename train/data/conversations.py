"""Conversations of the records as token ids, drawn in batches of similar length."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from spex.errors import RecordError
from spex.model.processor import SpexProcessor
from spex.query.prompt import Exchange, query_of_message
from train.data.random_state import rng_at
from train.data.record_folder import RecordFolder

log = logging.getLogger(__name__)
MAX_TOKENS = 1024
"""Longer conversations are left out of training."""
_POOL_BATCHES = 40
_SPAN_WEIGHT = 4.0  # of a token inside a span; a token of the sentence around it weighs 1
_LENGTH_STEP = 16  # tokens to which the length of a batch is rounded up

TokenizedConversation = tuple[list[int], int]
"""Token ids of a conversation, and the index at which its last answer begins."""


@dataclass(frozen=True)
class Conversation:
    """A conversation about one scene, whose last answer is what the model learns.

    Attributes:
        scene_id: Id of the survey record of the scene.
        query: The last query.
        evidence_text: Text of the measured evidence; empty if the conversation was built without.
        answer: The last answer, with its span markup.
        history: The exchanges before the last one.
    """

    scene_id: str
    query: str
    evidence_text: str
    answer: str
    history: tuple[Exchange, ...] = ()

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All exchanges; the evidence text belongs to the query of the first one."""
        return (*self.history, Exchange(self.query, self.answer))


class ConversationDataset(Sequence[Conversation]):
    """The conversations of a split; each is read from disk when it is indexed.

    Attributes:
        scene_ids: Per conversation, the id of the survey record of its scene.
        has_evidence: bool (N,), which conversations have an evidence text.
    """

    def __init__(self, records: RecordFolder) -> None:
        self.records = records
        self.scene_ids = [Path(path).stem for path in records.column("scene", "path")]
        self.has_evidence = np.array([bool(text) for text in records.column("prior")], bool)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, number: int) -> Conversation: ...
    @overload
    def __getitem__(self, number: slice) -> list[Conversation]: ...
    def __getitem__(self, number: int | slice) -> Conversation | list[Conversation]:
        if isinstance(number, slice):
            return [self[index] for index in range(len(self))[number]]
        number = range(len(self))[number]
        row = self.records.row(number)
        turns = [turn["content"] for turn in row["turns"]]
        queries = map(query_of_message, turns[::2])
        exchanges = [Exchange(*pair) for pair in zip(queries, turns[1::2], strict=False)]
        *history, last = exchanges
        return Conversation(
            self.scene_ids[number], last.query, row["prior"], last.answer, tuple(history)
        )


def load_conversations(folder: str | Path, split: str) -> ConversationDataset:
    """The conversations of a split.

    Args:
        folder: A folder of SPIE records.
        split: ``train`` or ``val``.

    Raises:
        RecordError: The folder holds no conversation of the split, or a shard is damaged.
    """
    columns = ["scene", "split", "turns", "prior"]
    records = RecordFolder(folder, "dialogue", columns).split(split)
    if not len(records):
        raise RecordError(
            f"no conversations of split {split!r} in {folder}; build them with: spex spie build"
        )
    return ConversationDataset(records)


class ConversationEncoder:
    """Turns conversations into token ids; leaves out and logs those over ``MAX_TOKENS`` tokens.

    Args:
        processor: Makes the prompt and its tokens.
        total: Number of conversations in the data, for the log.
    """

    def __init__(self, processor: SpexProcessor, total: int) -> None:
        self.processor = processor
        self._total = total
        self._too_long: set[Conversation] = set()

    def __call__(
        self, conversation: Conversation, evidence_text: str
    ) -> TokenizedConversation | None:
        """Encode a conversation, or return None if it is too long.

        Args:
            conversation: What to encode.
            evidence_text: Used instead of the conversation's own evidence text.

        Raises:
            RecordError: Every conversation is too long.
        """
        ids, start = self.processor.encode(
            conversation.query, evidence_text, conversation.answer, conversation.history
        )
        if len(ids) <= MAX_TOKENS:
            return ids, start
        if conversation not in self._too_long:
            self._too_long.add(conversation)
            self._report_too_long(len(self._too_long))
        return None

    def _report_too_long(self, count: int) -> None:
        log.warning(
            "%d of %d conversations left out so far: more than %d tokens",
            count,
            self._total,
            MAX_TOKENS,
        )
        if count == self._total:
            raise RecordError(
                f"all {count} conversations have more than {MAX_TOKENS} tokens; build shorter ones"
            )


@dataclass(frozen=True)
class TextBatch:
    """Conversations of a batch, padded on the right to T tokens.

    Attributes:
        input_ids: int64 (B, T).
        attention_mask: int64 (B, T), 0 at padding.
        start: int64 (B,), index of the first token of the last answer.
        weight: float32 (B, T), weight of each token in the loss: 0 outside the answer. Tokens
            inside spans weigh most, because they hold what the user asked for.
    """

    input_ids: Tensor
    attention_mask: Tensor
    start: Tensor
    weight: Tensor


def pad(
    conversations: list[TokenizedConversation], tokenizer: PreTrainedTokenizerBase
) -> TextBatch:
    """Stack conversations into a batch.

    The length is rounded up, because oneDNN caches a primitive for every shape that it meets;
    caches for all lengths would take gigabytes.
    """
    pad_id = _token_id(tokenizer, "<|pad|>")
    span_begin = _token_id(tokenizer, "<seg")
    span_end = _token_id(tokenizer, "</seg>")
    lengths = torch.tensor([len(ids) for ids, _ in conversations])
    starts = torch.tensor([start for _, start in conversations])
    width = -(-int(lengths.max()) // _LENGTH_STEP) * _LENGTH_STEP
    rows = torch.tensor([ids + [pad_id] * (width - len(ids)) for ids, _ in conversations])
    position = torch.arange(width)[None]
    mask = position < lengths[:, None]
    in_answer = mask & (position >= starts[:, None])
    in_span = (rows == span_begin).cumsum(1) > (rows == span_end).cumsum(1)
    weight = in_answer * (1.0 + (_SPAN_WEIGHT - 1) * (in_answer & in_span))
    return TextBatch(rows, mask.long(), starts, weight)


def _token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    token_id = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(token_id, int)
    return token_id


class TextStream:
    """Batches of conversations without images.

    The text of a conversation that has evidence is never used without it, because its answer may
    rest on the evidence. ``_POOL_BATCHES`` consecutive batches are drawn together and sorted by
    length, so that little is padded.

    Args:
        conversations: To draw from.
        processor: Encodes them.
        batch_size: Conversations per batch.
        evidence_dropout: Share drawn from the conversations that were built without evidence text.
        seed: Of all draws.
    """

    def __init__(
        self,
        conversations: ConversationDataset,
        processor: SpexProcessor,
        batch_size: int,
        evidence_dropout: float,
        seed: int,
    ) -> None:
        self.conversations = conversations
        self.tokenizer = processor.tokenizer
        self.encode = ConversationEncoder(processor, len(conversations))
        self.batch_size = batch_size
        self.evidence_dropout = evidence_dropout
        self.seed = seed
        self._without_evidence = np.flatnonzero(~conversations.has_evidence)
        self._with_evidence = np.flatnonzero(conversations.has_evidence)
        self._pool_key = (-1, -1)
        self._pool: list[list[TokenizedConversation]] = []

    def draw(self, step: int, process: int) -> TextBatch:
        """The batch of a step."""
        key = (step // _POOL_BATCHES, process)
        if self._pool_key != key:
            self._pool = self._draw_pool(rng_at(self.seed, *key))
            self._pool_key = key
        return pad(self._pool[step % _POOL_BATCHES], self.tokenizer)

    def _draw_pool(self, rng: np.random.Generator) -> list[list[TokenizedConversation]]:
        pool: list[TokenizedConversation] = []
        while len(pool) < _POOL_BATCHES * self.batch_size:
            conversation = self.conversations[self._draw_number(rng)]
            if encoded := self.encode(conversation, conversation.evidence_text):
                pool.append(encoded)
        pool.sort(key=lambda encoded: len(encoded[0]))
        firsts = [int(index) * self.batch_size for index in rng.permutation(_POOL_BATCHES)]
        return [pool[first : first + self.batch_size] for first in firsts]

    def _draw_number(self, rng: np.random.Generator) -> int:
        numbers = self._with_evidence
        if len(self._without_evidence) and (
            rng.random() < self.evidence_dropout or not len(self._with_evidence)
        ):
            numbers = self._without_evidence
        return int(rng.choice(numbers))
