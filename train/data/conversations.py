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
from train.data.record_folder import Shards

log = logging.getLogger(__name__)
MAX_TOKENS = 1024
_POOL = 40  # batches sorted by length together
_SPAN_WEIGHT = 4.0
_STEP = 16  # tokens


@dataclass(frozen=True)
class Dialogue:
    """A conversation and its last answer, which is learned; ``scene`` is the id of the survey record it speaks of."""

    scene: str
    query: str
    prior: str
    answer: str
    history: tuple[Exchange, ...] = ()

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All turns; the prior text stands in the first one's query."""
        return (*self.history, Exchange(self.query, self.answer))


class Dialogues(Sequence[Dialogue]):
    """The conversations of a split, read when they are asked for.

    Attributes:
        scenes: the id of the survey record that each speaks of. told: bool, which have a prior text.
    """

    def __init__(self, records: Shards) -> None:
        self.records = records
        self.scenes = [Path(path).stem for path in records.column("scene", "path")]
        self.told = np.array([bool(prior) for prior in records.column("prior")], bool)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, number: int) -> Dialogue: ...
    @overload
    def __getitem__(self, number: slice) -> list[Dialogue]: ...
    def __getitem__(self, number: int | slice) -> Dialogue | list[Dialogue]:
        if isinstance(number, slice):
            return [self[i] for i in range(len(self))[number]]
        number = range(len(self))[number]
        row = self.records.row(number)
        said = [turn["content"] for turn in row["turns"]]
        *history, last = map(Exchange, map(query_of_message, said[::2]), said[1::2])
        return Dialogue(self.scenes[number], last.query, row["prior"], last.answer, tuple(history))


def load_dialogues(folder: str | Path, split: str) -> Dialogues:
    """The conversations of a split.

    Raises:
        RecordError: the folder holds none, or a shard is damaged.
    """
    records = Shards(folder, "dialogue", ["scene", "split", "turns", "prior"]).of(split)
    if not len(records):
        raise RecordError(
            f"no dialogues of split {split!r} in {folder}; build them with: spex spie build"
        )
    return Dialogues(records)


class Encoder:
    """Conversations to token ids; those of more than ``MAX_TOKENS`` are left out, and their number is logged.

    Args:
        among: number of conversations there are.
    """

    def __init__(self, processor: SpexProcessor, among: int) -> None:
        self.processor, self._among = processor, among
        self._left_out: set[Dialogue] = set()

    def __call__(self, item: Dialogue, prior: str) -> tuple[list[int], int] | None:
        """Token ids and where the last answer begins, with ``prior`` in place of the record's; None if too long.

        Raises:
            RecordError: every conversation is too long.
        """
        ids, start = self.processor.encode(item.query, prior, item.answer, item.history)
        if len(ids) <= MAX_TOKENS:
            return ids, start
        if item not in self._left_out:
            self._left_out.add(item)
            count = len(self._left_out)
            log.warning(
                "%d of %d dialogues so far are left out: over %d tokens",
                count,
                self._among,
                MAX_TOKENS,
            )
            if count == self._among:
                raise RecordError(
                    f"all {count} dialogues have more than {MAX_TOKENS} tokens; build shorter ones"
                )
        return None


@dataclass(frozen=True)
class TextBatch:
    """Right-padded conversations: ids and mask (B, T), where each answer starts (B,), weight of each token (B, T).

    What a person asked for stands in the spans, so their tokens weigh more than the sentences around them.
    """

    input_ids: Tensor
    attention_mask: Tensor
    start: Tensor
    weight: Tensor


def pad(
    conversations: list[tuple[list[int], int]], tokenizer: PreTrainedTokenizerBase
) -> TextBatch:
    """Stack (ids, start of the answer) pairs.

    Lengths are rounded up: oneDNN keeps a primitive for every shape it meets, gigabytes for all of them.
    """
    pad_id, begin, end = tokenizer.convert_tokens_to_ids(["<|pad|>", "<seg", "</seg>"])
    longest = -(-max(len(ids) for ids, _ in conversations) // _STEP) * _STEP
    rows = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in conversations])
    lengths, starts = (
        torch.tensor([len(ids) for ids, _ in conversations]),
        torch.tensor([start for _, start in conversations]),
    )
    at = torch.arange(longest)[None]
    mask = at < lengths[:, None]
    answer = mask & (at >= starts[:, None])
    inside = (rows == begin).cumsum(1) > (rows == end).cumsum(1)
    return TextBatch(
        rows, mask.long(), starts, answer * (1.0 + (_SPAN_WEIGHT - 1) * (answer & inside))
    )


class TextStream:
    """Batches without images; a share ``prior_dropout`` of conversations is of those built without prior text.

    A prior is never taken from a conversation that has one: its answer may rest on it. ``_POOL`` batches in a row are
    drawn together and sorted by length.
    """

    def __init__(
        self,
        dialogues: Dialogues,
        processor: SpexProcessor,
        batch: int,
        prior_dropout: float,
        seed: int,
    ) -> None:
        self.dialogues = dialogues
        self.tokenizer, self.encode = processor.tokenizer, Encoder(processor, len(dialogues))
        self.batch, self.prior_dropout, self.seed = batch, prior_dropout, seed
        self.bare, self.told = np.flatnonzero(~dialogues.told), np.flatnonzero(dialogues.told)
        self._pool: tuple[tuple[int, int], list[list[tuple[list[int], int]]]] = ((-1, -1), [])

    def draw(self, step: int, process: int) -> TextBatch:
        """The batch of a step."""
        key = (step // _POOL, process)
        if self._pool[0] != key:
            self._pool = (key, self._draw_pool(rng_at(self.seed, *key)))
        return pad(self._pool[1][step % _POOL], self.tokenizer)

    def _draw_pool(self, rng: np.random.Generator) -> list[list[tuple[list[int], int]]]:
        pool: list[tuple[list[int], int]] = []
        while len(pool) < _POOL * self.batch:
            bare = len(self.bare) and (rng.random() < self.prior_dropout or not len(self.told))
            item = self.dialogues[int(rng.choice(self.bare if bare else self.told))]
            if ids := self.encode(item, item.prior):
                pool.append(ids)
        pool.sort(key=lambda pair: len(pair[0]))
        return [pool[int(at) * self.batch :][: self.batch] for at in rng.permutation(_POOL)]
