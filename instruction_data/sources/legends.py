"""Codes of label rasters and polygons in SPEX classes, and what a code says about every class.

A code means one class, one of several, none of the legend's ("other"), or nothing ("unknown"). A class is there if all
that the code can mean lies within it, not there if none of it can, and unknown otherwise: a code for "cropland or
grassland" says that there is vegetation and no water, and leaves open which of the two it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from instruction_data.sources.chips import Mask, Truth
from spex.errors import RecordError
from spex.evidence.classes import classes

OTHER, UNKNOWN = "other", "unknown"
_NAMES_FROM = -(1 << 20)  # a mapping of names numbers them where no raster has codes


@dataclass(frozen=True)
class CodeMeaning:
    """What one code can mean: its name in the legend and SPEX classes, of which one holds; none of them: unknown."""

    name: str
    can_be: tuple[str, ...]


@dataclass(frozen=True)
class Legend:
    """Meanings by code.

    ``doubts``: classes that a class's label leaves open; ``rest``: what lies outside of all polygons; ``is_mask``: the
    legend of one class, so that polygons need no attribute.
    """

    title: str
    codes: Mapping[int, CodeMeaning]
    doubts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    is_mask: bool = False

    @property
    def speaks_of(self) -> tuple[str, ...]:
        """Classes that some code names, with their parents and children, in the order of ``classes.yaml``."""
        named = self._named
        return tuple(
            name for name in classes() if any(_within(name, n) or _within(n, name) for n in named)
        )

    @property
    def _named(self) -> frozenset[str]:
        everything = (
            *(name for meaning in self.codes.values() for name in meaning.can_be),
            *self.rest,
        )
        return frozenset(everything) - {OTHER}

    def code(self, value: object) -> int | None:
        """The code that a polygon's attribute stands for: the code itself, its name or its class; None if none does."""
        try:
            number = float(str(value))
        except ValueError:
            wanted = _plain(str(value))
            named = [code for code, meaning in self.codes.items() if wanted == _plain(meaning.name)]
            meant = [
                code
                for code, meaning in self.codes.items()
                if [wanted] == [*map(_plain, meaning.can_be)]
            ]
            return next(iter((*named, *meant)), None)
        return int(number) if number.is_integer() and int(number) in self.codes else None

    def says(self, can_be: tuple[str, ...], name: str) -> bool | None:
        """Whether class ``name`` is there where one of ``can_be`` is; None if that is left open."""
        if not can_be or (
            name not in can_be and any(self._doubts(holder, name) for holder in (*can_be, "any"))
        ):
            return None
        answers = {self._says(single, name) for single in can_be}
        return answers.pop() if len(answers) == 1 else None

    def _doubts(self, holder: str, name: str) -> bool:
        parents = {
            _parent(holder),
            None,
        }  # doubt about the parent of a class is no doubt about its siblings
        return any(
            name == d or (_parent(name) == d and d not in parents)
            for d in self.doubts.get(holder, ())
        )

    def _says(self, single: str, name: str) -> bool | None:
        if single == OTHER:
            return False if any(_within(name, named) for named in self._named) else None
        if _within(single, name):
            return True
        return None if _within(name, single) else False


def legend_truth(
    codes: NDArray[Any], legend: Legend, source: str = "label", within: Mask | None = None
) -> Truth:
    """What codes (h, w) say about every class that the legend speaks of; nothing outside of ``within``.

    Raises:
        RecordError: codes that the legend does not list; the message names them and ``source``.
    """
    within = np.ones(codes.shape, bool) if within is None else within
    present = np.unique(codes[within])
    if strange := [f"{code:g}" for code in present if code not in legend.codes]:
        listed = ", ".join(strange[:12]) + (
            f" and {len(strange) - 12} more" if len(strange) > 12 else ""
        )
        raise RecordError(
            f"{source}: codes {listed} are not in the legend {legend.title!r}; add them to a mapping"
        )
    positions = np.full(codes.shape, len(present))
    positions[within] = np.searchsorted(present, codes[within])
    meanings = [*(legend.codes[int(code)].can_be for code in present), ()]
    truth: Truth = {}
    for name in legend.speaks_of:
        answers = [legend.says(can_be, name) for can_be in meanings]
        truth[name] = (
            np.array([answer is True for answer in answers])[positions],
            np.array([answer is None for answer in answers])[positions],
        )
    return truth


def legend(name: str | Path) -> Legend:
    """A legend by its name in ``legends.yaml``, one's own mapping from a YAML file, or ``mask:CLASS``.

    Raises:
        RecordError: neither of both, or a mapping that is malformed or names classes that SPEX does not have.
    """
    if str(name).startswith("mask:"):
        return single_class(str(name).removeprefix("mask:"))
    if str(name) in _named_legends():
        return _named_legends()[str(name)]
    path = Path(name)
    if not path.is_file():
        known = ", ".join(_named_legends())
        raise RecordError(
            f"{name} is neither a legend ({known}) nor a YAML file with a mapping of codes"
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordError(
            f"{path} is not YAML ({' '.join(str(error).split())}); see legends.yaml for examples"
        ) from error
    return _parse(document, str(path))


def single_class(name: str) -> Legend:
    """The legend of a binary mask: 0 is not the class, 1 and 255 are.

    Raises:
        RecordError: SPEX has no such class.
    """
    here = CodeMeaning(name, _meaning(name, "mask"))
    codes = {0: CodeMeaning(f"not {name}", (OTHER,)), 1: here, 255: here}
    return Legend(f"mask of {name}", codes, rest=(OTHER,), is_mask=True)


@cache
def _named_legends() -> dict[str, Legend]:
    documents = yaml.safe_load(
        (files("instruction_data.sources") / "legends.yaml").read_text(encoding="utf-8")
    )
    found: dict[str, Legend] = {}
    for name, document in documents.items():
        listed = {code: c.name for c in classes().values() for code in c.codes.get(name, ())}
        found[name] = _parse(document, name, listed)
        if base := document.get("numbered"):
            ordered = [
                found[base].codes[code]
                for code in sorted(found[base].codes)
                if found[base].codes[code].can_be
            ]
            codes = dict(enumerate(ordered, 1)) | dict(found[name].codes)
            found[name] = Legend(found[name].title, codes, found[name].doubts)
    return found


def _parse(document: Any, source: str, listed: Mapping[int, str] | None = None) -> Legend:
    entries = document.get("codes") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise RecordError(
            f"{source}: no 'codes' mapping in it; write for example 'codes: {{1: water, 2: unknown}}'"
        )
    doubts = document.get("doubts", {})
    if not isinstance(doubts, dict):
        raise RecordError(
            f"{source}: 'doubts' is no mapping; write for example 'doubts: {{cropland: [bare]}}'"
        )
    if len({isinstance(key, int) for key in entries}) > 1:
        raise RecordError(
            f"{source}: 'codes' mixes numbers and names; write all of them as numbers or all as names"
        )
    codes: dict[int, CodeMeaning] = {}
    for number, (key, value) in enumerate(entries.items()):
        name, meaning = (
            next(iter(value.items())) if isinstance(value, dict) and value else (key, value)
        )
        code = key if isinstance(key, int) else _NAMES_FROM + number
        codes[code] = CodeMeaning(
            str(name), _meaning(meaning or (listed or {}).get(code, ""), source)
        )
    doubtful = {holder: _meaning(names, source) for holder, names in doubts.items()}
    return Legend(
        str(document.get("title", source)),
        codes,
        doubtful,
        _meaning(document.get("rest", UNKNOWN), source),
    )


def _meaning(text: object, source: str) -> tuple[str, ...]:
    names = tuple(
        str(name).strip() for name in (text if isinstance(text, list) else str(text).split(" or "))
    )
    if names in ((UNKNOWN,), ("ignore",)):
        return ()
    for name in names:
        if name not in classes() and name != OTHER:
            raise RecordError(
                f"{source}: {name!r} is no SPEX class; use {', '.join(classes())}, other or unknown"
            )
    return names


def _parent(name: str) -> str | None:
    return classes()[name].parent if name in classes() else None


def _within(name: str, other: str) -> bool:
    return other in (name, _parent(name))


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
