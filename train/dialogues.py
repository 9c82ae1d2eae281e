"""Conversations of the records as token ids, drawn in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from spex.errors import RecordError
from spex.model.processor import SpexProcessor

_POOL = 40  # batches sorted by length together
_SPAN_WEIGHT = 4.0


@dataclass(frozen=True)
class Dialogue:
    """One question and its answer; ``scene`` is the id of the survey record whose pixels it speaks of."""

    scene: str
    query: str
    prior: str
    answer: str


def load_dialogues(folder: str | Path, split: str) -> list[Dialogue]:
    """All single-question dialogues of a split.

    Raises:
        RecordError: the folder holds none.
    """
    found = []
    for shard in sorted(Path(folder).glob("dialogue_*.parquet")):
        for row in pq.read_table(shard, columns=["scene", "split", "turns", "prior"]).to_pylist():
            if row["split"] == split:
                user, answer = (turn["content"] for turn in row["turns"][-2:])
                query = user.rsplit("Query: ", 1)[1].split("\n")[0]
                found.append(Dialogue(Path(row["scene"]["path"]).stem, query, row["prior"], answer))
    if not found:
        raise RecordError(f"no dialogues of split {split!r} in {folder}; build them with: spex spie build")
    return found


@dataclass(frozen=True)
class TextBatch:
    """Right-padded conversations: ids and mask (B, T), where each answer starts (B,), weight of each token (B, T).

    What a person asked for stands in the spans, so their tokens weigh more than the sentences around them.
    """

    input_ids: Tensor
    attention_mask: Tensor
    start: Tensor
    weight: Tensor


def pad(conversations: list[tuple[list[int], int]], tokenizer: PreTrainedTokenizerBase) -> TextBatch:
    """Stack (ids, start of the answer) pairs."""
    pad_id, begin, end = tokenizer.convert_tokens_to_ids(["<|pad|>", "<seg", "</seg>"])
    longest = max(len(ids) for ids, _ in conversations)
    rows = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in conversations])
    lengths, starts = (
        torch.tensor([len(ids) for ids, _ in conversations]),
        torch.tensor([start for _, start in conversations]),
    )
    at = torch.arange(longest)[None]
    mask = at < lengths[:, None]
    answer = mask & (at >= starts[:, None])
    inside = (rows == begin).cumsum(1) > (rows == end).cumsum(1)
    return TextBatch(rows, mask.long(), starts, answer * (1.0 + (_SPAN_WEIGHT - 1) * (answer & inside)))


def text_batches(
    dialogues: list[Dialogue], processor: SpexProcessor, batch: int, prior_dropout: float, seed: int
) -> Iterator[TextBatch]:
    """Endless batches without images; a share ``prior_dropout`` of conversations is of those built without prior text.

    A prior is never taken from a conversation that has one: its answer may rest on it.
    """
    rng = np.random.default_rng(seed)
    bare = [item for item in dialogues if not item.prior]
    told = [item for item in dialogues if item.prior]
    while True:
        pool = []
        for _ in range(_POOL * batch):
            side = bare if bare and (rng.random() < prior_dropout or not told) else told
            item = side[int(rng.integers(len(side)))]
            pool.append(processor.encode(item.query, item.prior, item.answer))
        pool.sort(key=lambda pair: len(pair[0]))
        batches = [pool[i : i + batch] for i in range(0, len(pool), batch)]
        for at in rng.permutation(len(batches)):
            yield pad(batches[int(at)], processor.tokenizer)
