"""Words of a request that could have mattered and are in no mask."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import regex

from spex.query.constraints import ANY
from spex.query.elements import Element
from spex.query.lexer import Item
from spex.query.lexicon import fold, lexicon, listed_words
from spex.query.linking import Links
from spex.query.request import MODIFIERS, Request

POSSIBLE = 0.15
"""Probability from which a decision that was not taken may still be what was meant."""
_TARGET = 0  # of ROLES
_COMPARATORS = ("at_least", "at_most", "at_least_after", "at_most_after", "between")
_SIZES = ("min_area", "max_area")
_WORD = regex.compile(r"\p{Latin}+|\p{Han}+")
_SHORTEST = {"zh": 1}
_SHORTEST_WORD = 3  # letters, in the other languages


def is_vague(element: Element) -> bool:
    """Whether words that look like a constraint are often none."""
    if "loose" in element.flags:
        return True
    is_near = element.kind == "relation" and element.value is None
    return is_near or (element.kind == "where" and not element.flags)


def left_over(request: Request, links: Links, used: Collection[int]) -> list[str]:
    """Words that are in no mask and could have mattered, in order, each once.

    Args:
        request: as it was written.
        links: of its elements.
        used: numbers of the elements that are in a mask.
    """
    leftovers = _LeftOver(request, links, [request.elements[number] for number in used])
    phrases = [*leftovers.elements(), *leftovers.words()]
    return [words for _, words in sorted(dict.fromkeys(phrases))]


class _LeftOver:
    """Looks for what a reading leaves out."""

    def __init__(self, request: Request, links: Links, used: Sequence[Element]) -> None:
        self.request = request
        self.links = links
        self.used = [element for element in used if element.first >= 0]
        # "Large lakes over 10 ha" says itself what is large.
        self.says_size = any(element.kind in _SIZES for element in self.used)
        self.covered = {
            number for element in self.used for number in range(element.first, element.last + 1)
        }

    def elements(self) -> Iterator[tuple[int, str]]:
        """Elements that are in no mask, each with its first item."""
        for number, element in enumerate(self.request.elements[:-1]):
            if self._is_covered(element) or is_vague(element) or "distant" in element.flags:
                continue
            if self._matters(number, element):
                yield element.first, self.request.words_of(element)

    def words(self) -> Iterator[tuple[int, str]]:
        """Words that nothing knows beside a class that was used, and numbers that are compared."""
        numbers = range(len(self.request.items))
        for is_unknown, group in groupby(numbers, self._is_unknown):
            run = list(group)
            if is_unknown and self._is_beside_class(run[0], run[-1]):
                yield run[0], self._text(run[0], run[-1])
        yield from self._qualifiers()
        for number in numbers:
            if self._relates(number):
                yield number, self._text(number, number)
            compared = self._compared_number(number)
            if compared is not None:
                yield compared[0], self._text(*compared)

    def _qualifiers(self) -> Iterator[tuple[int, str]]:
        """Words within the name of a class that narrow it: "dense" of "dense forest"."""
        if self.says_size:
            return
        listed = listed_words(self.request.language, "qualifier")
        for element in self.used:
            if element.kind != "mention":
                continue
            for word in _WORD.finditer(fold(self.request.words_of(element)).text):
                if word[0] in listed:
                    yield element.first, word[0]

    def _matters(self, number: int, element: Element) -> bool:
        if element.kind == "mention":
            likely = float(self.links.roles[number, _TARGET]) > POSSIBLE
            return likely or (self._is_plain(element) and self._is_in_used_sentence(element))
        if element.kind == "thing":
            return "" not in element.value.ambiguous
        return element.kind in (*MODIFIERS, "ordinal")

    def _is_plain(self, element: Element) -> bool:
        """Whether a mention is no part of a name, and means no other thing."""
        words = self.request.words_of(element)
        ambiguous = element.detail is None or "" in element.detail.ambiguous
        return words.islower() and element.value != ANY and not ambiguous

    def _is_in_used_sentence(self, element: Element) -> bool:
        items = self.request.items
        for used in self.used:
            low, high = sorted((element.first, used.first))
            if not any("stop" in item for item in items[low:high]):
                return True
        return False

    def _is_covered(self, element: Element) -> bool:
        """Whether another reading of the same words is in a mask."""
        return any(number in self.covered for number in range(element.first, element.last + 1))

    def _is_unknown(self, number: int) -> bool:
        """Whether an item is a word that no table has."""
        item = self.request.items[number]
        language = self.request.language
        letters = item.text.replace("'", "")
        return (
            set(item.values) == {"word"}
            and letters.isalpha()
            and len(letters) >= _SHORTEST.get(language, _SHORTEST_WORD)
            and item.text not in lexicon(language).common
            and not (self.says_size and item.text in listed_words(language, "qualifier"))
            and not self._source(item)[:1].isupper()
        )

    def _is_beside_class(self, first: int, last: int) -> bool:
        mentions = [element for element in self.used if element.kind == "mention"]
        return any(e.first == last + 1 or e.last == first - 1 for e in mentions)

    def _relates(self, number: int) -> bool:
        """Whether a word such as "through" relates two classes, which no constraint can."""
        item = self.request.items[number]
        if number in self.covered or "to" not in item or item.any_of("and", "or", "comma"):
            return False
        mentions = [element for element in self.used if element.kind == "mention"]
        before = any(number - 2 <= element.last < number for element in mentions)
        behind = any(number < element.first <= number + 2 for element in mentions)
        return before and behind and item.text.isalpha()

    def _compared_number(self, number: int) -> tuple[int, int] | None:
        """First and last item of a number beside a comparator, where neither is in a mask."""
        items = self.request.items
        if "number" not in items[number] or number in self.covered:
            return None
        before = number > 0 and items[number - 1].any_of(*_COMPARATORS)
        behind = number + 1 < len(items) and items[number + 1].any_of(*_COMPARATORS)
        if not (before or behind):
            return None
        last = number + 1 if number + 1 < len(items) and _is_word(items[number + 1]) else number
        return number - before, max(last, number + behind)

    def _source(self, item: Item) -> str:
        return self.request.text[item.start : item.end]

    def _text(self, first: int, last: int) -> str:
        items = self.request.items
        return self.request.text[items[first].start : items[last].end]


def _is_word(item: Item) -> bool:
    return not item.any_of("comma", "stop", "bracket", "and", "or")
