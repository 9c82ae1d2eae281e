"""The network of :mod:`spex.query.linking` in torch, for training."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from instruction_data.requests.corpus import REFUSED, WHOLE_SCENE
from spex.query.linking import INTENTS, LINKS, ROLES
from spex.query.request import element_features, item_features, linked_pairs, pair_features
from train.reading.examples import Example
from train.reading.labels import Decision, labels_of

DIM = 96
HIDDEN = 64
LAYERS = 2
HEADS = 4
DROPOUT = 0.25
_FAR = 32
_WORD_DROPOUT = 0.15
_CLASS_DROPOUT = 0.3


class Vocabulary:
    """Rows of the embeddings by feature; row 0 is unused.

    Args:
        features: of items and elements.
        pairs: of pairs of elements.
    """

    def __init__(self, features: Iterable[str], pairs: Iterable[str]) -> None:
        self.row = {name: row for row, name in enumerate(features, start=1)}
        self.pair_row = {name: row for row, name in enumerate(pairs, start=1)}

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Vocabulary:
        """The features of examples; words that stand in one example only are left out."""
        counts = Counter[str]()
        pairs = set[str]()
        for example in examples:
            request = example.request
            for features in item_features(request):
                counts.update(set(features))
            for element in request.elements:
                counts.update(element_features(element))
            for modifier, mention in linked_pairs(request):
                pairs.update(pair_features(request, modifier, mention))
        frequent = [
            name
            for name, count in counts.items()
            if count > 1 or name.startswith(("k:", "el:", "E"))
        ]
        return cls(frequent, sorted(pairs))


@dataclass(frozen=True)
class Compiled:
    """An example as rows of the embeddings.

    Attributes:
        items: rows of each item, the whole request first.
        elements: rows of each element.
        first: place of the first item of each element among ``items``.
        last: place of the last one.
        pairs: of ``linked_pairs``.
        pair_rows: rows of each pair.
        any_of: decisions of which one must hold, as places in the scores.
        none_of: decisions that must not hold.
        intent: place in ``INTENTS``.
    """

    items: list[list[int]]
    elements: list[list[int]]
    first: list[int]
    last: list[int]
    pairs: list[tuple[int, int]]
    pair_rows: list[list[int]]
    any_of: list[list[int]]
    none_of: list[int]
    intent: int


def compile_example(example: Example, vocabulary: Vocabulary) -> Compiled:
    """An example as the network takes it."""
    request = example.request
    row = vocabulary.row
    pairs = linked_pairs(request)
    pair_number = {pair: number for number, pair in enumerate(pairs)}
    roles = len(request.elements) * len(ROLES)

    def cell(decision: Decision) -> int:
        if decision.mention < 0:
            return decision.element * len(ROLES) + ROLES.index(decision.kind)
        pair = pair_number[decision.element, decision.mention]
        return roles + pair * len(LINKS) + LINKS.index(decision.kind)

    labels = labels_of(request, example.reading)
    intent = {REFUSED: "none", WHOLE_SCENE: "whole_scene"}
    name = intent[example.reading] if isinstance(example.reading, str) else "extract"
    pair_rows = []
    for modifier, mention in pairs:
        names = pair_features(request, modifier, mention)
        pair_rows.append([vocabulary.pair_row[n] for n in names if n in vocabulary.pair_row])
    return Compiled(
        items=[[row[n] for n in names if n in row] for names in item_features(request)],
        elements=[[row[n] for n in element_features(e) if n in row] for e in request.elements],
        first=[max(element.first, -1) + 1 for element in request.elements],
        last=[max(element.last, -1) + 1 for element in request.elements],
        pairs=pairs,
        pair_rows=pair_rows,
        any_of=[[cell(decision) for decision in group] for group in labels.any_of],
        none_of=[cell(decision) for decision in labels.none_of],
        intent=INTENTS.index(name),
    )


@dataclass(frozen=True)
class Batch:
    """Examples of one step; element and pair numbers run across them."""

    bags: tuple[Tensor, Tensor]
    mask: Tensor
    element_bags: tuple[Tensor, Tensor]
    example_of: Tensor
    first: Tensor
    last: Tensor
    pair_bags: tuple[Tensor, Tensor]
    modifiers: Tensor
    mentions: Tensor
    any_of: Tensor
    group_of: Tensor
    none_of: Tensor
    intent: Tensor


def _bags(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of an ``EmbeddingBag`` and where each bag begins."""
    lengths = [len(bag) for bag in rows]
    starts = np.cumsum([0, *lengths[:-1]]) if lengths else np.zeros(0, np.int64)
    flat = [row for bag in rows for row in bag]
    return torch.tensor(flat, dtype=torch.long), torch.as_tensor(starts, dtype=torch.long)


def collate(examples: Sequence[Compiled], drop: Dropped | None = None) -> Batch:
    """Examples of one step.

    Args:
        examples: of the step.
        drop: hides words and classes at random; None hides nothing.
    """
    longest = max(len(example.items) for example in examples)
    mask = torch.zeros(len(examples), longest, dtype=torch.bool)
    items: list[list[int]] = []
    elements: list[list[int]] = []
    places: list[tuple[int, int, int]] = []
    pair_rows: list[list[int]] = []
    pairs: list[tuple[int, int]] = []
    role_cells = sum(len(example.elements) for example in examples) * len(ROLES)
    groups: list[list[int]] = []
    none_of: list[int] = []
    for number, example in enumerate(examples):
        mask[number, : len(example.items)] = True
        items += drop.words(example.items) if drop else example.items
        own_roles = len(example.elements) * len(ROLES)
        offset = len(elements)
        pair_offset = len(pairs)

        def shifted(
            cell: int, roles: int = own_roles, element: int = offset, pair: int = pair_offset
        ) -> int:
            if cell < roles:
                return cell + element * len(ROLES)
            return cell - roles + role_cells + pair * len(LINKS)

        groups += [[shifted(cell) for cell in group] for group in example.any_of]
        none_of += [shifted(cell) for cell in example.none_of]
        elements += drop.classes(example.elements) if drop else example.elements
        for first, last in zip(example.first, example.last, strict=True):
            places.append((number, first, last))
        pairs += [(one + offset, other + offset) for one, other in example.pairs]
        pair_rows += example.pair_rows
    cells = [cell for group in groups for cell in group]
    owners = [number for number, group in enumerate(groups) for _ in group]
    place = torch.tensor(places, dtype=torch.long)
    pair = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return Batch(
        bags=_bags(items),
        mask=mask,
        element_bags=_bags(elements),
        example_of=place[:, 0],
        first=place[:, 1],
        last=place[:, 2],
        pair_bags=_bags(pair_rows),
        modifiers=pair[:, 0],
        mentions=pair[:, 1],
        any_of=torch.tensor(cells, dtype=torch.long),
        group_of=torch.tensor(owners, dtype=torch.long),
        none_of=torch.tensor(none_of, dtype=torch.long),
        intent=torch.tensor([example.intent for example in examples]),
    )


class Dropped:
    """Hides words of items and classes of elements at random, so that neither is relied on."""

    def __init__(self, vocabulary: Vocabulary, rng: random.Random) -> None:
        self._words = {row for name, row in vocabulary.row.items() if name[:2] in ("w:", "wl")}
        self._classes = {row for name, row in vocabulary.row.items() if name[:3] == "Ec:"}
        self._rng = rng

    def words(self, items: Sequence[list[int]]) -> list[list[int]]:
        """Items without their words in some places."""
        return [
            [row for row in bag if row not in self._words]
            if self._rng.random() < _WORD_DROPOUT
            else bag
            for bag in items
        ]

    def classes(self, elements: Sequence[list[int]]) -> list[list[int]]:
        """Elements of one example, in some examples without their classes."""
        if self._rng.random() >= _CLASS_DROPOUT:
            return list(elements)
        return [[row for row in bag if row not in self._classes] for bag in elements]


class _Layer(nn.Module):
    """A pre-norm transformer layer with a learned bias per distance."""

    def __init__(self) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(DIM)
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.o = nn.Linear(DIM, DIM)
        self.ln2 = nn.LayerNorm(DIM)
        self.f1 = nn.Linear(DIM, 3 * DIM)
        self.f2 = nn.Linear(3 * DIM, DIM)
        self.dropout = nn.Dropout(DROPOUT)
        self.attention_dropout = nn.Dropout(DROPOUT / 2)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """States (B, T, DIM) under a bias of the attention (B, HEADS, T, T)."""
        batch, length, _ = x.shape
        projected = self.qkv(self.ln1(x)).view(batch, length, 3, HEADS, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias
        weights = self.attention_dropout(scores.softmax(-1))
        mixed = (weights @ value).transpose(1, 2).reshape(batch, length, -1)
        x = x + self.dropout(self.o(mixed))
        hidden = F.gelu(self.f1(self.ln2(x)), approximate="tanh")
        return x + self.dropout(self.f2(hidden))


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.GELU(approximate="tanh"),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, outputs),
    )


class LinkingNetwork(nn.Module):
    """Intents, roles and links of requests; its parameters are named as ``Linker`` reads them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        count = len(vocabulary.row) + 1
        self.emb = nn.EmbeddingBag(count, DIM, mode="sum")
        self.eemb = nn.EmbeddingBag(count, DIM, mode="sum")
        self.pemb = nn.EmbeddingBag(len(vocabulary.pair_row) + 1, HIDDEN, mode="sum")
        for table, deviation in ((self.emb, 0.1), (self.eemb, 0.1), (self.pemb, 0.05)):
            nn.init.normal_(table.weight, std=deviation)
        self.ln0 = nn.LayerNorm(DIM)
        self.L = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.rel = nn.Parameter(torch.zeros(LAYERS, HEADS, 2 * _FAR + 1))
        self.lnf = nn.LayerNorm(DIM)
        self.kind = _perceptron(2 * DIM, len(INTENTS))
        self.role = _perceptron(2 * DIM, len(ROLES))
        self.pa = nn.Linear(2 * DIM, HIDDEN)
        self.pb = nn.Linear(2 * DIM, HIDDEN)
        self.ab = nn.Linear(2 * DIM, DIM)
        self.bb = nn.Linear(2 * DIM, DIM)
        self.pab = nn.Linear(DIM, HIDDEN, bias=False)
        self.po = nn.Linear(HIDDEN, len(LINKS))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores of the intents (B, 3), and of all roles and then all links in one row."""
        states = self._states(batch)
        weight = batch.mask[..., None].to(states.dtype)
        pooled = torch.cat([states[:, 0], (states * weight).sum(1) / weight.sum(1)], -1)
        own = self.eemb(*batch.element_bags)
        of_items = states[batch.example_of, batch.first] + states[batch.example_of, batch.last]
        elements = self.dropout(torch.cat([of_items / 2, own], -1))
        roles = self.role(elements)
        product = self.ab(elements)[batch.modifiers] * self.bb(elements)[batch.mentions]
        hidden = (
            self.pa(elements)[batch.modifiers]
            + self.pb(elements)[batch.mentions]
            + self.pab(product)
            + self.pemb(*batch.pair_bags)
        )
        links = self.po(self.dropout(F.gelu(hidden, approximate="tanh")))
        return self.kind(pooled), torch.cat([roles.reshape(-1), links.reshape(-1)])

    def _states(self, batch: Batch) -> Tensor:
        count, length = batch.mask.shape
        embedded = torch.zeros(count, length, DIM)
        embedded[batch.mask] = self.emb(*batch.bags)
        x = self.dropout(self.ln0(embedded))
        position = torch.arange(length)
        offset = (position[None] - position[:, None]).clamp(-_FAR, _FAR) + _FAR
        hidden = torch.where(batch.mask, 0.0, -1e9)[:, None, None]
        for number, layer in enumerate(self.L):
            x = layer(x, self.rel[number][:, offset][None] + hidden)
        states: Tensor = self.lnf(x)
        return states

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the examples of the negative log-likelihood of their labels."""
        intents, scores = self(batch)
        loss = F.cross_entropy(intents, batch.intent, reduction="sum", label_smoothing=0.02)
        loss = loss + F.softplus(scores[batch.none_of]).sum()
        if len(batch.any_of):
            # That none of a group holds has the product of their probabilities not to hold.
            none = torch.zeros(int(batch.group_of[-1]) + 1)
            none = none.index_add(0, batch.group_of, -F.softplus(scores[batch.any_of]))
            loss = loss - torch.log1p(-torch.exp(none.clamp(max=-1e-6)) + 1e-7).sum()
        return loss / len(batch.intent)


def weights_of(
    network: LinkingNetwork, vocabulary: Vocabulary
) -> Mapping[str, NDArray[np.generic]]:
    """The weights as ``spex.query.linking.Linker`` takes them, in half precision."""
    weights: dict[str, NDArray[np.generic]] = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in network.state_dict().items()
    }
    for name, rows in (("features", vocabulary.row), ("pair_features", vocabulary.pair_row)):
        weights[name] = np.frombuffer("\n".join(rows).encode(), np.uint8)
    return weights


def save_weights(network: LinkingNetwork, vocabulary: Vocabulary, path: Path) -> None:
    """Write the weights aside, then put them in place."""
    part = path.with_suffix(".part.npz")
    weights: dict[str, Any] = dict(weights_of(network, vocabulary))
    np.savez_compressed(part, **weights)
    part.replace(path)
