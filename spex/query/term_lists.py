"""The lists of land-cover words in ``terms/``, one a language, ready to be looked up.

``terms/README.md`` says what the columns mean. A list is read when its language is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from spex.evidence.classes import added_entries
from spex.query.constraints import Constraints, IndexCondition
from spex.query.word_forms import fold

NO_CLASS = "-"
"""In the lists, what no class stands for."""

_SEPARATORS = re.compile(r"[ \-‐‑–'’]")
_IMPLIED_AREA = re.compile(r"(min|max)=(\d+(?:\.\d+)?)(ha|m2|km2|px|%)")
_IMPLIED_INDEX = re.compile(r"idx=([A-Z]+)([<>])(-?\d+(?:\.\d+)?)")
_IMPLIED_EXCLUSION = re.compile(r"not=([a-z_]+)")


@dataclass(frozen=True)
class Term:
    """A word or phrase of the lists.

    Attributes:
        class_name: a class, or ``any`` for what a constraint alone describes; empty for things
            that no class stands for.
        text: as listed.
        implies: constraints that the word stands for beside its class.
        ambiguous: other classes that the word may mean; an empty name: none of them.
        is_nearest: the word is narrower than the class, as wheat is for cropland.
        is_verb: the word says what happened to the land, as "flooded" does.
        is_phrase: the words describe the land without naming it, as "covered in reeds" do.
    """

    class_name: str
    text: str
    implies: Constraints = field(default_factory=Constraints)
    ambiguous: tuple[str, ...] = ()
    is_nearest: bool = False
    is_verb: bool = False
    is_phrase: bool = False


class Entry(NamedTuple):
    """What a key of a list leads to: its line, and the form as written."""

    row: str
    form: str

    @property
    def misspelt(self) -> bool:
        """Whether the form is a known misspelling of the term."""
        return self.row.endswith("\ttypo")


@dataclass(frozen=True)
class TermList:
    """The words of one language.

    Attributes:
        language: ISO 639-1 code.
        entries: by key.
        common: words and phrases that are no land cover, by key.
        function_words: keys of words such as "the", which are part of no joined word.
        heads: keys of German nouns that name the class of a compound that ends in them.
        most_words: of a term; a character counts as a word in Chinese.
    """

    language: str
    entries: Mapping[str, Entry]
    common: Mapping[str, str]
    function_words: frozenset[str]
    heads: frozenset[str]
    most_words: int

    def term(self, entry: Entry) -> Term:
        """The term that an entry leads to."""
        return _parse_row(entry.row)

    def may_be_misspelt(self, entry: Entry) -> bool:
        """Whether a word that nobody knows may be a misspelling of this one."""
        rare = entry.row.endswith(("\trare", ";rare"))
        return not rare and not entry.misspelt and " " not in entry.form


def key_of(text: str, language: str) -> str:
    """How words, phrases or a whole list are looked up: folded, with nothing between words."""
    return _SEPARATORS.sub("", fold(text, language))


@cache
def term_list(language: str) -> TermList:
    """The list of a language of ``spex.query.reading.LANGUAGES``."""
    text = _read(f"{language}.tsv")
    entries: dict[str, Entry] = {}
    heads: set[str] = set()
    inflected = []
    for row, folded in zip(text.splitlines(), key_of(text, language).splitlines(), strict=True):
        _, term, forms, _, note = row.split("\t")
        _, key, keys, _, _ = folded.split("\t")
        if note != "typo":
            entries.setdefault(key, Entry(row, term))
        if forms:
            inflected.append((row, forms, keys))
        if "head" in note:
            heads.update((key, *keys.split(",")))
    for row, forms, keys in inflected:
        for form, key in zip(forms.split(","), keys.split(","), strict=True):
            if key not in entries:
                entries[key] = Entry(row, form)
    function_words, common = _common_words(language)
    if language == "zh":
        most_words = max(map(len, entries))
    else:
        most_words = 2 + max(entry.form.count(" ") for entry in entries.values())
    return TermList(
        language, entries, common, frozenset(function_words), frozenset(heads), most_words
    )


def added_terms(language: str) -> Mapping[str, Term]:
    """The words of the classes that were added to this process, by key, of every language."""
    phrases = []
    for name, entry in added_entries.items():
        words = entry.get("words", {}).values()
        listed = [phrase for of_language in words for phrase in of_language]
        for phrase in (name.replace("_", " "), entry["title"], *entry["synonyms"], *listed):
            phrases.append((name, phrase))
    return _keyed_terms(tuple(phrases), language)


@lru_cache(maxsize=16)
def _keyed_terms(phrases: tuple[tuple[str, str], ...], language: str) -> Mapping[str, Term]:
    terms: dict[str, Term] = {}
    for name, phrase in phrases:
        terms.setdefault(key_of(phrase, language), Term(name, phrase))
    return terms


def _read(name: str) -> str:
    return (files("spex.query") / "terms" / name).read_text(encoding="utf-8")


def _common_words(language: str) -> tuple[set[str], dict[str, str]]:
    """Keys of the function words, and all words and phrases that are no land cover by their key."""
    text = _read(f"common_{language}.txt")
    folded = key_of(text, language)
    function_words, _, _ = folded.partition("\n\n")
    written = re.split(r"[,\n]+", text.strip())
    keys = re.split(r"[,\n]+", folded.strip())
    common = dict(zip(keys, (word.strip() for word in written), strict=True))
    return set(re.split(r"[,\n]", function_words)), common


@lru_cache(maxsize=4096)
def _parse_row(row: str) -> Term:
    class_name, term, _, implies, note = row.split("\t")
    notes = note.split(";")
    ambiguous = [item.removeprefix("ambiguous:") for item in notes if item.startswith("ambiguous:")]
    return Term(
        class_name.removeprefix(NO_CLASS),
        term,
        implied_constraints(implies),
        tuple(name.removeprefix(NO_CLASS) for name in ambiguous),
        "nearest" in notes,
        "verb" in notes,
        "phrase" in notes,
    )


def implied_constraints(text: str) -> Constraints:
    """Constraints in the notation of the lists, such as ``max=1ha`` or ``idx=NDVI>0.5``."""
    areas = {bound: (float(value), unit) for bound, value, unit in _IMPLIED_AREA.findall(text)}
    return Constraints(
        min_area=areas.get("min"),
        max_area=areas.get("max"),
        index=tuple(
            IndexCondition(name, "above" if side == ">" else "below", float(value))
            for name, side, value in _IMPLIED_INDEX.findall(text)
        ),
        exclude=tuple(_IMPLIED_EXCLUSION.findall(text)),
    )
