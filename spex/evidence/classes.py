"""The land-cover classes: names, words for them, codes in other legends, and the recipes by which pixels show them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from spex.errors import ConfigError
from spex.evidence.indices import index_roles
from spex.sensors import ROLES

_CONDITION = re.compile(r"(z:)?([A-Za-z0-9]+) (above|below) (?:(scene)([+-]\d+(?:\.\d+)?)?|(-?\d+(?:\.\d+)?))")
_ARTICLES = frozenset({"a", "an", "the"})


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
        raise ConfigError(f"classes.yaml: condition {text!r} is not of the form 'INDEX above|below scene|NUMBER'")
    standardised, quantity, side, scene, offset, number = match.groups()
    value = float(offset or number or 0.0)
    return Condition(quantity, side == "above", value, relative=bool(scene), standardised=bool(standardised))


@cache
def classes() -> dict[str, LandClass]:
    """All classes by name, in the order of ``classes.yaml``; parents stand before their children.

    Raises:
        ConfigError: a condition of ``classes.yaml`` is malformed.
    """
    entries = _document()["classes"]
    return {
        name: LandClass(
            name=name,
            title=entry["title"],
            parent=entry.get("parent"),
            children=tuple(child for child, other in entries.items() if other.get("parent") == name),
            synonyms=tuple(" ".join(synonym.split()) for synonym in entry["synonyms"]),
            colour=entry["colour"],
            codes={legend: tuple(codes) for legend, codes in entry["codes"].items()},
            needs=entry["needs"],
            confused_with=tuple(entry["confused_with"]),
            without=tuple(entry.get("without", ())),
            beside=entry.get("beside"),
            recipes=tuple(
                Recipe(r["level"], r.get("weak", False), tuple(map(_condition, r["when"]))) for r in entry["recipes"]
            ),
        )
        for name, entry in entries.items()
    }


@cache
def index_range(name: str, calibrated: bool) -> IndexRange:
    """Default threshold and bounds of one of ``EVIDENCE_INDICES``."""
    return IndexRange(*_document()["indices"][name]["calibrated" if calibrated else "display"])


def _words(text: str) -> list[tuple[str, int]]:
    """Lower-case singular words without articles, each with its place in the text."""
    words = []
    for match in re.finditer(r"[a-z0-9]+", text.lower().replace("'s ", "   ")):
        word = match[0]
        if word in _ARTICLES:
            continue
        if len(word) > 3 and word.endswith("ies"):
            word = word[:-3] + "y"
        elif len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
            word = word[:-2]
        elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
        words.append((word, match.start()))
    return words


@cache
def _lexicon() -> tuple[dict[tuple[str, ...], str], int]:
    lexicon: dict[tuple[str, ...], str] = {}
    for name, land_class in classes().items():
        for phrase in (name, land_class.title, *land_class.synonyms):
            lexicon.setdefault(tuple(word for word, _ in _words(phrase)), name)
    return lexicon, max(map(len, lexicon))


def _matches(text: str) -> list[tuple[int, int, str]]:
    """(first word, word count, class) of every synonym in the text; longer ones win, none overlap."""
    lexicon, longest = _lexicon()
    words = [word for word, _ in _words(text)]
    taken = [False] * len(words)
    found = []
    for length in range(min(longest, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            name = lexicon.get(tuple(words[start : start + length]))
            if name is not None and not any(taken[start : start + length]):
                taken[start : start + length] = [True] * length
                found.append((start, length, name))
    return found


def resolve(phrase: str) -> str | None:
    """The class that a phrase names: its longest synonym, the last of equals ("forest lake" is a lake), or None."""
    found = _matches(phrase)
    return max(found, key=lambda match: (match[1], match[0]))[2] if found else None


def mentioned(query: str) -> list[str]:
    """Classes whose words occur in the query, in order of appearance, each once."""
    return list(dict.fromkeys(name for _, _, name in sorted(_matches(query))))
