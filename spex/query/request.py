"""A request as the network of :mod:`spex.query.linking` takes it: items, elements, features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spex.query.constraints import ANY
from spex.query.elements import CONSTRAINTS, Element, elements_of
from spex.query.lexer import Item, items_of

MODIFIERS = (*CONSTRAINTS, "relation")
"""Kinds of elements that belong to a mention."""


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
                position = _place(number, element)
                of_elements[number] += [f"el:{name}:{position}", f"el:{name}"]
                if element.kind != "mention":
                    of_elements[number] += [f"fl:{name}:{flag}" for flag in element.flags]
    for item, element_names in zip(request.items, of_elements, strict=True):
        features.append([*_features_of_item(request, item), *element_names])
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
    first_element = request.elements[modifier]
    target = request.elements[mention]
    if first_element.first < 0 or target.first < 0:
        return ["pf:implicit"]
    after = first_element.first > target.last
    low, high = (target.last, first_element.first) if after else (first_element.last, target.first)
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
