"""The land-cover classes of ``classes.yaml``: names, codes in other legends, index recipes."""

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

_CONDITION = re.compile(
    r"(z:)?([A-Za-z0-9]+) (above|below) (?:(scene)([+-]\d+(?:\.\d+)?)?|(-?\d+(?:\.\d+)?))"
)

added_entries: dict[str, dict[str, Any]] = {}
"""Entries that ``spex.evidence.class_additions`` has added in this process, by class name."""


def is_calibrated(level: str) -> bool:
    """Whether values of a processing level are reflectance, so that physical thresholds apply."""
    return level in ("toa", "surface")


@dataclass(frozen=True)
class Condition:
    """One comparison of a recipe: a quantity of the scene with a value.

    Attributes:
        quantity: name of a spectral index or a band role.
        above: the quantity must exceed the value; otherwise it must stay below it.
        value: what it is compared with.
        relative: ``value`` is added to the scene's own threshold of the index.
        standardised: the quantity is the z-score of a band role in the scene, not its reflectance.
    """

    quantity: str
    above: bool
    value: float
    relative: bool
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
    """Conditions that must all hold; the first one names the class's index.

    Attributes:
        level: the processing level of the scenes that the recipe fits.
        weak: no index really separates the class.
        conditions: all of them must hold in a pixel.
    """

    level: Literal["surface", "toa", "calibrated", "display", "any"]
    weak: bool
    conditions: tuple[Condition, ...]

    @property
    def roles(self) -> frozenset[str]:
        """Band roles that the recipe needs."""
        return frozenset().union(*(condition.roles for condition in self.conditions))


@dataclass(frozen=True)
class LandClass:
    """One class of ``classes.yaml``.

    Attributes:
        name: key of the class, such as ``tree_cover``.
        title: name for people, such as "tree cover".
        parent: class that this one is a part of.
        children: classes that are parts of this one.
        synonyms: other English names, in the singular.
        words: names in other languages, by language code.
        colour: ``#rrggbb`` on maps.
        codes: codes of the class in other legends, by legend.
        needs: bands and calibration that the recipes need, in words.
        confused_with: classes that look alike.
        without: classes whose pixels are taken away from this one.
        beside: class without which this one is not looked for.
        recipes: the first one that fits a scene is used.
    """

    name: str
    title: str
    parent: str | None
    children: tuple[str, ...]
    synonyms: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    colour: str
    codes: Mapping[str, tuple[int, ...]]
    needs: str
    confused_with: tuple[str, ...]
    without: tuple[str, ...]
    beside: str | None
    recipes: tuple[Recipe, ...]

    def recipe(self, roles: Collection[str], level: str) -> Recipe | None:
        """The first recipe that fits a scene, or None.

        Args:
            roles: band roles of the scene.
            level: processing level of the scene.
        """
        levels = {"any", level, "calibrated" if is_calibrated(level) else "display"}
        return next((r for r in self.recipes if r.level in levels and r.roles <= set(roles)), None)


ANY_CLASS = LandClass(
    name="any",
    title="all valid pixels",
    parent=None,
    children=(),
    synonyms=(),
    words={},
    colour="#8e7cc3",
    codes={},
    needs="",
    confused_with=(),
    without=(),
    beside=None,
    recipes=(),
)
"""In place of a class: every valid pixel. It is none of ``classes()``."""


@dataclass(frozen=True)
class IndexRange:
    """Default threshold of an index, and the bounds of a scene's own threshold."""

    threshold: float
    low: float
    high: float


@cache
def _document() -> dict[str, Any]:
    text = (files("spex.evidence") / "classes.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def shipped_entries() -> dict[str, dict[str, Any]]:
    """The entries of ``classes.yaml`` by class name, as written there."""
    entries: dict[str, dict[str, Any]] = _document()["classes"]
    return entries


@cache
def index_range(name: str, calibrated: bool) -> IndexRange:
    """Default threshold and bounds of one of ``EVIDENCE_INDICES``."""
    return IndexRange(*_document()["indices"][name]["calibrated" if calibrated else "display"])


@cache
def classes() -> dict[str, LandClass]:
    """All classes by name, in the order of ``classes.yaml``; parents stand before their children.

    Raises:
        ConfigError: a condition of ``classes.yaml`` is malformed.
    """
    entries = shipped_entries() | added_entries
    children: dict[str, list[str]] = {name: [] for name in entries}
    for name, entry in entries.items():
        if entry.get("parent"):
            children[entry["parent"]].append(name)
    return {
        name: _land_class(name, entry, tuple(children[name])) for name, entry in entries.items()
    }


def land_class(name: str) -> LandClass:
    """A class by its name, ``any`` included."""
    return ANY_CLASS if name == ANY_CLASS.name else classes()[name]


def _land_class(name: str, entry: Mapping[str, Any], children: tuple[str, ...]) -> LandClass:
    return LandClass(
        name=name,
        title=entry["title"],
        parent=entry.get("parent"),
        children=children,
        synonyms=tuple(" ".join(synonym.split()) for synonym in entry["synonyms"]),
        words={language: tuple(words) for language, words in entry.get("words", {}).items()},
        colour=entry["colour"],
        codes={legend: tuple(codes) for legend, codes in entry["codes"].items()},
        needs=entry["needs"],
        confused_with=tuple(entry["confused_with"]),
        without=tuple(entry.get("without", ())),
        beside=entry.get("beside"),
        recipes=tuple(_recipe(recipe) for recipe in entry["recipes"]),
    )


def _recipe(entry: Mapping[str, Any]) -> Recipe:
    conditions = tuple(_condition(text) for text in entry["when"])
    return Recipe(entry["level"], entry.get("weak", False), conditions)


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"classes.yaml: condition {text!r} is not of the form 'INDEX above|below scene|NUMBER'"
        )
    standardised, quantity, side, scene, offset, number = match.groups()
    return Condition(
        quantity,
        side == "above",
        float(offset or number or 0.0),
        relative=bool(scene),
        standardised=bool(standardised),
    )
