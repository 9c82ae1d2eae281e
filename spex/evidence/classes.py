"""The land-cover classes: names, words for them, codes in other legends, and the recipes by which pixels show them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import yaml

from spex.errors import ConfigError
from spex.evidence.indices import index_roles
from spex.sensors import ROLES

_CONDITION = re.compile(
    r"(z:)?([A-Za-z0-9]+) (above|below) (?:(scene)([+-]\d+(?:\.\d+)?)?|(-?\d+(?:\.\d+)?))"
)
_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"[^\W_]+")
_SOLID = re.compile(r"[\u3400-\u9fff]")  # scripts written without spaces: Han
_NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_DEFAULTS: dict[str, Any] = {
    "synonyms": [], "colour": "#d01c8b", "codes": {}, "needs": "a rule of its own", "confused_with": [], "recipes": [],
}  # fmt: skip
_added: dict[str, dict[str, Any]] = {}


def is_calibrated(level: str) -> bool:
    """Whether values of a processing level are reflectance, so that physical thresholds apply."""
    return level in ("toa", "surface")


@dataclass(frozen=True)
class Condition:
    """One comparison of a recipe: an index, a role's reflectance or (``standardised``) its z-score, with a value."""

    quantity: str
    above: bool
    value: float
    relative: bool
    """``value`` is added to the scene's threshold of the index."""
    standardised: bool

    @property
    def is_index(self) -> bool:
        """Whether the quantity is a spectral index rather than a band role."""
        return self.quantity not in ROLES

    @property
    def roles(self) -> frozenset[str]:
        """Band roles that the comparison needs."""
        return index_roles(self.quantity) if self.is_index else frozenset({self.quantity})


@dataclass(frozen=True)
class Recipe:
    """Conditions that must all hold; the first one names the class's index."""

    level: Literal["surface", "toa", "calibrated", "display", "any"]
    weak: bool
    conditions: tuple[Condition, ...]

    @property
    def roles(self) -> frozenset[str]:
        """Band roles that the recipe needs."""
        return frozenset().union(*(condition.roles for condition in self.conditions))


@dataclass(frozen=True)
class LandClass:
    """One class of ``classes.yaml``."""

    name: str
    title: str
    parent: str | None
    children: tuple[str, ...]
    synonyms: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    """Names in other languages, by language code."""
    colour: str
    codes: Mapping[str, tuple[int, ...]]
    needs: str
    confused_with: tuple[str, ...]
    without: tuple[str, ...]
    beside: str | None
    recipes: tuple[Recipe, ...]

    def recipe(self, roles: Collection[str], level: str) -> Recipe | None:
        """The first recipe that fits the scene's band roles and processing level, or None."""
        levels = {"any", level, "calibrated" if is_calibrated(level) else "display"}
        return next((r for r in self.recipes if r.level in levels and r.roles <= set(roles)), None)


@dataclass(frozen=True)
class IndexRange:
    """Default threshold of an index and the bounds of a scene's own."""

    threshold: float
    low: float
    high: float


@cache
def _document() -> dict[str, Any]:
    text = (files("spex.evidence") / "classes.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"classes.yaml: condition {text!r} is not of the form 'INDEX above|below scene|NUMBER'"
        )
    standardised, quantity, side, scene, offset, number = match.groups()
    value = float(offset or number or 0.0)
    return Condition(
        quantity, side == "above", value, relative=bool(scene), standardised=bool(standardised)
    )


@cache
def classes() -> dict[str, LandClass]:
    """All classes by name, in the order of ``classes.yaml``; parents stand before their children.

    Raises:
        ConfigError: a condition of ``classes.yaml`` is malformed.
    """
    entries = _document()["classes"] | _added
    return {
        name: LandClass(
            name=name,
            title=entry["title"],
            parent=entry.get("parent"),
            children=tuple(
                child for child, other in entries.items() if other.get("parent") == name
            ),
            synonyms=tuple(" ".join(synonym.split()) for synonym in entry["synonyms"]),
            words={language: tuple(words) for language, words in entry.get("words", {}).items()},
            colour=entry["colour"],
            codes={legend: tuple(codes) for legend, codes in entry["codes"].items()},
            needs=entry["needs"],
            confused_with=tuple(entry["confused_with"]),
            without=tuple(entry.get("without", ())),
            beside=entry.get("beside"),
            recipes=tuple(
                Recipe(r["level"], r.get("weak", False), tuple(map(_condition, r["when"])))
                for r in entry["recipes"]
            ),
        )
        for name, entry in entries.items()
    }


def extend(entries: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Add classes for the rest of this process; an entry that is there already, word for word, stays.

    Args:
        entries: by name, in the form of ``classes.yaml``; all but ``title`` may be left out. A class without recipes is
            one that no spectral index shows: only a model that learned it can. Its words are no longer those of others.
        source: where they come from, for messages.

    Raises:
        ConfigError: an entry that is malformed, or that says something else than a class there is.
    """
    new = {
        name: _entry(name, entry, {*_document()["classes"], *entries}, source)
        for name, entry in entries.items()
    }
    for name, entry in new.items():
        if name in _document()["classes"] or _added.get(name, entry) != entry:
            raise ConfigError(
                f"{source}: there is another class {name!r} already; give yours another name"
            )
    missing = {name: entry for name, entry in new.items() if name not in _added}
    for name, entry in missing.items():
        for phrase in (name.replace("_", " "), entry["title"], *entry["synonyms"]):
            if not _words(phrase) and not _SOLID.search(phrase):
                raise ConfigError(
                    f"{source}: {name!r} is called {phrase!r}, which holds no word; use another"
                )
            taken = resolve(phrase)
            if taken and phrase.casefold() in (taken.replace("_", " "), classes()[taken].title):
                raise ConfigError(
                    f"{source}: {name!r} is called {phrase!r}, as {taken!r} is; use another word"
                )
    _added.update(missing)
    try:
        _forget()
        classes()
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        for name in missing:
            del _added[name]
        _forget()
        raise ConfigError(
            f"{source}: {error}; write entries as in spex/evidence/classes.yaml"
        ) from error


def read_entries(path: str | PathLike[str]) -> dict[str, Any]:
    """The entries of a file in the form of ``classes.yaml``, for ``extend``; its ``indices`` may be left out.

    Raises:
        ConfigError: not readable, or without classes.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read the classes {path}: {' '.join(str(error).split())}"
        ) from error
    entries = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise ConfigError(
            f"{path}: no 'classes' in it; write for example 'classes: {{solar_farm: {{title: solar farm}}}}'"
        )
    return entries


def added() -> dict[str, dict[str, Any]]:
    """The entries that ``extend`` was given, by name, every field written out."""
    return dict(_added)


def _entry(name: str, entry: Any, known: Collection[str], source: str) -> dict[str, Any]:
    fields = {*_DEFAULTS, "title", "parent", "words", "without", "beside"}
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{source}: {name!r} is no name of a class; use small letters and single underscores"
        )
    if not isinstance(entry, Mapping) or not isinstance(entry.get("title"), str):
        raise ConfigError(
            f"{source}: {name!r} needs a title; write for example '{name}: {{title: {name}}}'"
        )
    if unknown := sorted(set(entry) - fields):
        raise ConfigError(
            f"{source}: {name!r} has {unknown[0]!r}; known are {', '.join(sorted(fields))}"
        )
    full = _DEFAULTS | dict(entry)
    if not _COLOUR.fullmatch(str(full["colour"])):
        raise ConfigError(
            f"{source}: {name!r} has the colour {full['colour']!r}; write it as '#d01c8b'"
        )
    if not isinstance(full["synonyms"], list) or not all(
        isinstance(word, str) for word in full["synonyms"]
    ):
        raise ConfigError(
            f"{source}: the synonyms of {name!r} are no list of words; write [solar park, panels]"
        )
    if strange := [
        other for other in (full.get("parent"), full.get("beside")) if other and other not in known
    ]:
        raise ConfigError(f"{source}: {name!r} names {strange[0]!r}, which is no class")
    return full


def _forget() -> None:
    for kept in (classes, _lexicon, _matches):
        kept.cache_clear()


@cache
def index_range(name: str, calibrated: bool) -> IndexRange:
    """Default threshold and bounds of one of ``EVIDENCE_INDICES``."""
    return IndexRange(*_document()["indices"][name]["calibrated" if calibrated else "display"])


def _fold(word: str) -> str:
    """Lower case without accents; ß is written ss."""
    return "".join(
        c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c)
    )


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _words(text: str) -> list[tuple[str, int, int]]:
    """Folded singular words without English articles, each with its start and end in the text."""
    found = (
        (_fold(match[0]), *match.span()) for match in _WORD.finditer(text.replace("'s ", "   "))
    )
    return [(_singular(word), start, end) for word, start, end in found if word not in _ARTICLES]


@cache
def _lexicon() -> tuple[
    dict[str, list[tuple[tuple[str, ...], str]]], re.Pattern[str], dict[str, str]
]:
    """Phrases by their first word; for those written without spaces a pattern, longest first, and their classes."""
    spaced: dict[tuple[str, ...], str] = {}
    solid: dict[str, str] = {}
    for name, land_class in sorted(classes().items(), key=lambda item: item[0] not in _added):
        for phrase in (name, land_class.title, *land_class.synonyms):
            spaced.setdefault(tuple(word for word, _, _ in _words(phrase)), name)
    for name, land_class in classes().items():
        for phrase in (phrase for phrases in land_class.words.values() for phrase in phrases):
            if _SOLID.search(phrase):
                solid.setdefault(phrase, name)
            else:
                spaced.setdefault(tuple(word for word, _, _ in _words(phrase)), name)
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for phrase_words, name in spaced.items():
        by_first.setdefault(phrase_words[0], []).append((phrase_words, name))
    pattern = "|".join(map(re.escape, sorted(solid, key=len, reverse=True))) or "(?!)"
    return by_first, re.compile(pattern), solid


@lru_cache(maxsize=4096)
def _matches(text: str) -> list[tuple[int, int, int, str]]:
    """(start, end, number of words, class) of every phrase in the text; longer ones win, none overlap."""
    by_first, pattern, solid = _lexicon()
    words = _words(text)
    tokens = tuple(word for word, _, _ in words)
    candidates = [
        (len(phrase), at, name)
        for at, word in enumerate(tokens)
        for phrase, name in by_first.get(word, ())
        if tokens[at : at + len(phrase)] == phrase
    ]
    taken: set[int] = set()
    found = []
    for length, at, name in sorted(candidates, key=lambda c: (-c[0], c[1])):
        if taken.isdisjoint(range(at, at + length)):
            taken.update(range(at, at + length))
            found.append((words[at][1], words[at + length - 1][2], length, name))
    if _SOLID.search(text):
        found += [(*match.span(), 1, solid[match[0]]) for match in pattern.finditer(text)]
    return found


def resolve(phrase: str) -> str | None:
    """The class that a phrase names: its longest synonym, the last of equals ("forest lake" is a lake), or None."""
    found = _matches(phrase)
    return max(found, key=lambda match: (match[2], match[0]))[3] if found else None


def named(query: str) -> list[tuple[str, str]]:
    """(class, words) of every phrase of the query that names one, in order of appearance.

    Case, accents and regular English plurals do not matter; Chinese words are found anywhere in the text.
    """
    return [(name, query[start:end]) for start, end, _, name in sorted(_matches(query))]


def mentioned(query: str) -> list[str]:
    """Classes that the query names, in order of appearance, each once."""
    return list(dict.fromkeys(name for name, _ in named(query)))
