"""Classes that are added by data, as entries in the form of ``classes.yaml``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from spex.errors import ConfigError
from spex.evidence.class_words import clear_lexicon, has_words, resolve_class
from spex.evidence.classes import added_entries, classes, shipped_entries

_NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_DEFAULTS: dict[str, Any] = {
    "synonyms": [],
    "colour": "#d01c8b",
    "codes": {},
    "needs": "a rule of its own",
    "confused_with": [],
    "recipes": [],
}
_FIELDS = {*_DEFAULTS, "title", "parent", "words", "without", "beside"}


def add_classes(entries: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Add classes for the rest of this process.

    An entry that was added before, word for word, stays. A class without recipes is one that no
    spectral index shows: only a model that learned it can find it. Words of an added class no
    longer name another class.

    Args:
        entries: by class name, in the form of ``classes.yaml``; every field but ``title`` may be
            left out.
        source: where the entries come from, for messages.

    Raises:
        ConfigError: an entry is malformed, or differs from that of an existing class of the same
            name.
    """
    names = {*shipped_entries(), *entries}
    complete = {name: _complete(name, entry, names, source) for name, entry in entries.items()}
    for name, entry in complete.items():
        if name in shipped_entries() or added_entries.get(name, entry) != entry:
            raise ConfigError(
                f"{source}: there is another class {name!r} already; give yours another name"
            )
    new = {name: entry for name, entry in complete.items() if name not in added_entries}
    for name, entry in new.items():
        _check_words(name, entry, source)
    added_entries.update(new)
    try:
        _clear_caches()
        classes()
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        for name in new:
            del added_entries[name]
        _clear_caches()
        raise ConfigError(
            f"{source}: {error}; write entries as in spex/evidence/classes.yaml"
        ) from error


def added_classes() -> dict[str, dict[str, Any]]:
    """The entries that ``add_classes`` has added, by class name, every field written out."""
    return dict(added_entries)


def read_class_entries(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a file in the form of ``classes.yaml`` for ``add_classes``; it needs no ``indices``.

    Raises:
        ConfigError: the file is not readable or holds no classes.
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
            f"{path} has no 'classes'; "
            "write for example 'classes: {solar_farm: {title: solar farm}}'"
        )
    return entries


def _complete(name: str, entry: Any, names: Collection[str], source: str) -> dict[str, Any]:
    """An entry with every field, checked.

    Args:
        name: of the class.
        entry: as given.
        names: of all classes that the entry may refer to.
        source: for messages.

    Raises:
        ConfigError: the entry is malformed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{source}: {name!r} is not a class name; use small letters and single underscores"
        )
    if not isinstance(entry, Mapping) or not isinstance(entry.get("title"), str):
        raise ConfigError(
            f"{source}: {name!r} has no title; write for example '{name}: {{title: {name}}}'"
        )
    if unknown := sorted(set(entry) - _FIELDS):
        raise ConfigError(
            f"{source}: {name!r} has the unknown field {unknown[0]!r}; "
            f"use {', '.join(sorted(_FIELDS))}"
        )
    complete = _DEFAULTS | dict(entry)
    if not _COLOUR.fullmatch(str(complete["colour"])):
        raise ConfigError(
            f"{source}: {name!r} has the colour {complete['colour']!r}; write it as '#d01c8b'"
        )
    synonyms = complete["synonyms"]
    if not isinstance(synonyms, list) or not all(isinstance(word, str) for word in synonyms):
        raise ConfigError(
            f"{source}: the synonyms of {name!r} are not a list of words; "
            "write for example [solar park, panels]"
        )
    for field in ("parent", "beside"):
        related = complete.get(field)
        if related and related not in names:
            raise ConfigError(
                f"{source}: {name!r} has the {field} {related!r}, which is not a class"
            )
    return complete


def _check_words(name: str, entry: Mapping[str, Any], source: str) -> None:
    """Refuse a word without letters, and one that is the name or title of another class.

    Raises:
        ConfigError: such a word.
    """
    for phrase in (name.replace("_", " "), entry["title"], *entry["synonyms"]):
        if not has_words(phrase):
            raise ConfigError(
                f"{source}: {name!r} is called {phrase!r}, which holds no word; use another"
            )
        owner = resolve_class(phrase)
        if owner and phrase.casefold() in (owner.replace("_", " "), classes()[owner].title):
            raise ConfigError(
                f"{source}: {name!r} is called {phrase!r}, as {owner!r} is; use another word"
            )


def _clear_caches() -> None:
    classes.cache_clear()
    clear_lexicon()
