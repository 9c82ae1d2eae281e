"""How the elements of a request belong together: a small network over its items.

Items are embedded by what they may be, and read by a transformer. From the states of its items an
element gets its role (a mention is a target, or excluded; a constraint is meant the other way
round), and from the states of two elements whether they belong together (a relation and its object,
a modifier and its target). The scheme is that of biaffine dependency parsing (Dozat and Manning,
2017, arXiv 1611.01734), with elements in place of words. It is trained by ``train.stages.reading``
and runs on NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from spex.query.request import (
    Request,
    element_features,
    item_features,
    linked_pairs,
    pair_features,
)

INTENTS = ("extract", "whole_scene", "none")
ROLES = ("target", "excluded", "reversed")
LINKS = ("object", "modifies")
_FAR = 32  # items; positions farther apart look alike

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Links:
    """What the network makes of a request, as probabilities.

    Attributes:
        intent: of ``INTENTS``.
        roles: of ``ROLES`` for each element, ``(elements, 3)``.
        links: of ``LINKS`` for each pair of ``linked_pairs``.
    """

    intent: Array
    roles: Array
    links: Mapping[tuple[int, int], Array]


class Linker:
    """The trained network.

    Args:
        weights: as ``train.stages.reading`` writes them: ``features`` and ``pair_features`` name
            the rows of the embeddings.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.generic]]) -> None:
        self._row = _rows(weights["features"])
        self._pair_row = _rows(weights["pair_features"])
        self._w = {
            name: np.asarray(value, np.float32)
            for name, value in weights.items()
            if name not in ("features", "pair_features")
        }
        self._layers = len(self._w["rel"])
        self._heads = self._w["rel"].shape[1]

    def __call__(self, request: Request) -> Links:
        """Decide how the elements of a request belong together."""
        states = self._states(request)
        pooled = np.concatenate([states[0], states.mean(axis=0)])
        intent = _softmax(self._perceptron("kind", pooled))
        first = [max(element.first, -1) + 1 for element in request.elements]
        last = [max(element.last, -1) + 1 for element in request.elements]
        embedded = [self._embed("eemb", element_features(e)) for e in request.elements]
        elements = np.concatenate([(states[first] + states[last]) / 2, np.stack(embedded)], axis=1)
        roles = _sigmoid(self._perceptron("role", elements))
        pairs = linked_pairs(request)
        if not pairs:
            return Links(intent, roles, {})
        links = _sigmoid(self._pair_scores(request, elements, pairs))
        return Links(intent, roles, dict(zip(pairs, links, strict=True)))

    def _embed(self, table: str, features: Sequence[str]) -> Array:
        rows = [self._row[name] for name in features if name in self._row]
        total: Array = self._w[f"{table}.weight"][rows].sum(axis=0)
        return total

    def _states(self, request: Request) -> Array:
        """States of the request and its items, ``(items + 1, dim)``."""
        embedded = [self._embed("emb", features) for features in item_features(request)]
        x = self._norm("ln0", np.stack(embedded))
        position = np.arange(len(x))
        offset = np.clip(position[None] - position[:, None], -_FAR, _FAR) + _FAR
        for layer in range(self._layers):
            x = x + self._attention(layer, self._norm(f"L.{layer}.ln1", x), offset)
            hidden = self._linear(f"L.{layer}.f1", self._norm(f"L.{layer}.ln2", x))
            x = x + self._linear(f"L.{layer}.f2", _gelu(hidden))
        return self._norm("lnf", x)

    def _attention(self, layer: int, x: Array, offset: NDArray[np.int64]) -> Array:
        count, dim = x.shape
        projected = self._linear(f"L.{layer}.qkv", x).reshape(count, 3, self._heads, -1)
        query, key, value = projected.transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        weights = _softmax(scores + self._w["rel"][layer][:, offset])
        mixed = (weights @ value).transpose(1, 0, 2).reshape(count, dim)
        return self._linear(f"L.{layer}.o", mixed)

    def _pair_scores(
        self, request: Request, elements: Array, pairs: Sequence[tuple[int, int]]
    ) -> Array:
        modifiers, mentions = np.array(pairs).T
        embedded = []
        for modifier, mention in pairs:
            names = pair_features(request, modifier, mention)
            rows = [self._pair_row[name] for name in names if name in self._pair_row]
            embedded.append(self._w["pemb.weight"][rows].sum(axis=0))
        product = (self._linear("ab", elements)[modifiers]) * self._linear("bb", elements)[mentions]
        hidden = (
            self._linear("pa", elements)[modifiers]
            + self._linear("pb", elements)[mentions]
            + product @ self._w["pab.weight"].T
            + np.stack(embedded)
        )
        return self._linear("po", _gelu(hidden))

    def _linear(self, name: str, x: Array) -> Array:
        product: Array = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return product

    def _perceptron(self, name: str, x: Array) -> Array:
        return self._linear(f"{name}.3", _gelu(self._linear(f"{name}.0", x)))

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        normed: Array = centred / scale * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]
        return normed


@cache
def linker() -> Linker:
    """The network that ships with the package."""
    with as_file(files("spex.query") / "linking.npz") as path, np.load(path) as weights:
        return Linker(dict(weights))


def _rows(names: NDArray[np.generic]) -> dict[str, int]:
    """Rows of an embedding by feature; row 0 is unused."""
    listed = bytes(names.astype(np.uint8)).decode().split("\n")
    return {name: row for row, name in enumerate(listed, start=1)}


def _softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _gelu(x: Array) -> Array:
    """The tanh form of the Gaussian error linear unit."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)), np.float32)
