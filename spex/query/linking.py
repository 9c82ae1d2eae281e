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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from spex.query.constraints import ANY
from spex.query.elements import CONSTRAINTS, Element, elements_of
from spex.query.lexer import Item, items_of

MODIFIERS = (*CONSTRAINTS, "relation")
INTENTS = ("extract", "whole_scene", "none")
ROLES = ("target", "excluded", "reversed")
LINKS = ("object", "modifies")
_FAR = 32  # items; positions farther apart look alike

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """A request with its items and elements.

    Attributes:
        text: as ``clean_query`` returns it.
        language: its language.
        items: of the lexer.
        elements: found on the items; a mention that may be of several classes stands once for
            each, and the last one is an implicit mention of any class.
    """

    text: str
    language: str
    items: Sequence[Item]
    elements: Sequence[Element]

    def numbers_of(self, *kinds: str) -> list[int]:
        """Numbers of the elements of some kinds."""
        return [number for number, element in enumerate(self.elements) if element.kind in kinds]

    def words_of(self, element: Element) -> str:
        """The words of the request that an element came from."""
        if element.first < 0:
            return ""
        return self.text[self.items[element.first].start : self.items[element.last].end]


def request_of(text: str, language: str) -> Request:
    """Find the items and elements of a request."""
    items = items_of(text, language)
    elements: list[Element] = []
    for element in elements_of(items):
        elements.append(element)
        if element.kind == "mention" and element.detail is not None:
            elements += _other_readings(element)
    elements.append(Element("mention", -1, -1, ANY, flags=frozenset({"implicit"})))
    return Request(text, language, items, elements)


def _other_readings(element: Element) -> Iterator[Element]:
    """A mention as the other classes that it may mean, and as what "treeless" takes away."""
    for name in element.detail.ambiguous:
        if name:
            yield replace(element, value=name, flags=element.flags | {"alt"})
    for name in element.detail.implies.exclude:
        flags = element.flags | {"alt", "without"}
        yield replace(element, value=name, detail=None, flags=flags)


# Features ---------------------------------------------------------------------------------------


def _element_name(element: Element) -> str:
    return f"relation:{element.detail}" if element.kind == "relation" else element.kind


def item_features(request: Request) -> list[list[str]]:
    """Features of each item; the first entry stands for the whole request."""
    features = [[f"lang:{request.language}", "CLS"]]
    of_elements: list[list[str]] = [[] for _ in request.items]
    for element in request.elements:
        name = _element_name(element)
        for number in range(element.first, element.last + 1):
            if number >= 0:
                place = _place(number, element)
                of_elements[number] += [f"el:{name}:{place}", f"el:{name}"]
                if element.kind != "mention":
                    of_elements[number] += [f"fl:{name}:{flag}" for flag in element.flags]
    for item, own in zip(request.items, of_elements, strict=True):
        features.append([*_features_of_item(request, item), *own])
    return features


def _place(number: int, element: Element) -> str:
    if element.first == element.last:
        return "S"
    return "B" if number == element.first else "E" if number == element.last else "I"


def _features_of_item(request: Request, item: Item) -> Iterator[str]:
    for kind in item.values:
        yield f"k:{kind}"
    yield "k:" + "+".join(sorted(item.values))
    yield f"w:{item.text}"
    yield f"wl:{request.language}:{item.text}"
    source = request.text[item.start : item.end]
    before = request.text[: item.start].rstrip()
    begins = not before or before[-1] in ".!?:;-•(\"'"
    case = "lower"
    if source.isupper() and len(source) > 1:
        case = "upper"
    elif source[:1].isupper():
        case = "title"
    elif source[:1].isdigit():
        case = "digit"
    yield f"case:{case}:{begins}"
    term = item.values.get("class")
    if term is not None:
        for flag in ("is_nearest", "is_verb", "is_phrase"):
            if getattr(term, flag):
                yield flag
        for name in term.ambiguous:
            yield f"amb:{name or '-'}"


def element_features(element: Element) -> list[str]:
    """Features of an element beside those of its items."""
    name = _element_name(element)
    features = [f"E:{name}", *(f"E:{name}:{flag}" for flag in element.flags)]
    if element.kind == "mention":
        features.append(f"Ec:{element.value}")
    if element.kind == "relation":
        features.append(f"E:dist:{element.value is not None}")
    if element.kind in ("where", "top", "bottom"):
        features.append(f"E:{element.kind}:{str(element.value)[:12]}")
    return features


def pair_features(request: Request, modifier: int, mention: int) -> list[str]:
    """Features of two elements: which stands first, and what stands between."""
    own = request.elements[modifier]
    other = request.elements[mention]
    if own.first < 0 or other.first < 0:
        return ["pf:implicit"]
    after = own.first > other.last
    low, high = (other.last, own.first) if after else (own.last, other.first)
    side = ">" if after else "<"
    mentions = 0
    for element in request.elements:
        listed = element.kind == "mention" and "alt" not in element.flags
        mentions += listed and low < element.first < high
    between = request.items[max(low, 0) + 1 : high]
    stops = sum("stop" in item for item in between)
    commas = sum("comma" in item for item in between)
    return [
        f"pf:{side}:m{min(mentions, 4)}",
        f"pf:{side}:m{min(mentions, 3)}:s{min(stops, 2)}",
        f"pf:{side}:d{min(max(high - low, 0), 10)}",
        f"pf:{side}:m{min(mentions, 2)}:c{min(commas, 2)}:s{min(stops, 1)}",
        f"pf:ov{low >= high}",
    ]


def linked_pairs(request: Request) -> list[tuple[int, int]]:
    """The pairs of a modifier or mention and another mention that links are sought for."""
    mentions = request.numbers_of("mention")
    pairs = []
    for modifier in [*request.numbers_of(*MODIFIERS), *mentions[:-1]]:
        pairs += [(modifier, mention) for mention in mentions if mention != modifier]
    return pairs


# The network ------------------------------------------------------------------------------------


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
        own = [self._embed("eemb", element_features(e)) for e in request.elements]
        elements = np.concatenate([(states[first] + states[last]) / 2, np.stack(own)], axis=1)
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
        own = []
        for modifier, mention in pairs:
            names = pair_features(request, modifier, mention)
            rows = [self._pair_row[name] for name in names if name in self._pair_row]
            own.append(self._w["pemb.weight"][rows].sum(axis=0))
        product = (self._linear("ab", elements)[modifiers]) * self._linear("bb", elements)[mentions]
        hidden = (
            self._linear("pa", elements)[modifiers]
            + self._linear("pb", elements)[mentions]
            + product @ self._w["pab.weight"].T
            + np.stack(own)
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
