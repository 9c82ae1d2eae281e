"""Legends: what the codes of label rasters and polygons mean in SPEX classes.

A code means one class, one of several classes, none of the classes in its legend ("other"), or
nothing ("unknown"). A class is present if everything that the code can mean lies within it, absent
if nothing does, and unknown otherwise. A code for "cropland or grassland" thus states that there is
vegetation and no water, and leaves open which of the two it is.
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

OTHER = "other"
UNKNOWN = "unknown"
_NAMES_FROM = -(1 << 20)  # a mapping of names is numbered where no raster has codes
_LISTED = 12  # codes named in a message


@dataclass(frozen=True)
class CodeMeaning:
    """What one code of a legend can mean.

    Args:
        name: the code's name in the legend.
        candidates: SPEX classes, one of which is there; empty if the code says nothing.
    """

    name: str
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Legend:
    """Meanings by code.

    Args:
        title: the legend in words.
        codes: meaning of every code.
        doubts: per class, the classes that its label leaves open; the key "any" is every class.
        outside_polygons: what lies outside of all polygons, as the candidates of a code.
        is_mask: a legend of one class, whose polygons need no attribute.
    """

    title: str
    codes: Mapping[int, CodeMeaning]
    doubts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside_polygons: tuple[str, ...] = ()
    is_mask: bool = False

    @property
    def known_classes(self) -> tuple[str, ...]:
        """Classes that codes name, their parents and children, in the order of the class table."""
        return tuple(name for name in classes() if any(_related(name, n) for n in self._named))

    @property
    def _named(self) -> frozenset[str]:
        names = set(self.outside_polygons)
        for meaning in self.codes.values():
            names.update(meaning.candidates)
        return frozenset(names - {OTHER})

    def code(self, value: object) -> int | None:
        """The code for a polygon's attribute: the code itself, its name or its class, else None."""
        try:
            number = float(str(value))
        except ValueError:
            return self._code_of_name(_normalized(str(value)))
        return int(number) if number.is_integer() and int(number) in self.codes else None

    def _code_of_name(self, name: str) -> int | None:
        for code, meaning in self.codes.items():
            if _normalized(meaning.name) == name:
                return code
        for code, meaning in self.codes.items():
            if [_normalized(candidate) for candidate in meaning.candidates] == [name]:
                return code
        return None

    def presence(self, candidates: tuple[str, ...], name: str) -> bool | None:
        """Whether class ``name`` is present where one of ``candidates`` is; None if left open."""
        if not candidates:
            return None
        if name not in candidates and any(
            self._doubtful(labelled, name) for labelled in (*candidates, "any")
        ):
            return None
        answers = {self._presence_in(candidate, name) for candidate in candidates}
        return answers.pop() if len(answers) == 1 else None

    def _doubtful(self, labelled: str, name: str) -> bool:
        """Whether a label of class ``labelled`` leaves open if class ``name`` is there too."""
        # Doubt about the parent of the labelled class is no doubt about its siblings.
        own_parents = {_parent(labelled), None}
        for doubt in self.doubts.get(labelled, ()):
            if name == doubt or (_parent(name) == doubt and doubt not in own_parents):
                return True
        return False

    def _presence_in(self, candidate: str, name: str) -> bool | None:
        if candidate == OTHER:
            return False if any(_within(name, named) for named in self._named) else None
        if _within(candidate, name):
            return True
        return None if _within(name, candidate) else False


def legend_truth(
    codes: NDArray[Any], legend: Legend, source: str = "label", labelled: Mask | None = None
) -> Truth:
    """What codes state about every class that the legend knows.

    Args:
        codes: codes (h, w).
        legend: what the codes mean.
        source: where the codes come from, named in the message.
        labelled: bool (h, w), pixels that have a code; the others are unknown. None: all.

    Raises:
        RecordError: codes that the legend does not list; the message names them and ``source``.
    """
    labelled = np.ones(codes.shape, bool) if labelled is None else labelled
    present = np.unique(codes[labelled])
    unlisted = [f"{code:g}" for code in present if code not in legend.codes]
    if unlisted:
        listed = ", ".join(unlisted[:_LISTED])
        if len(unlisted) > _LISTED:
            listed += f" and {len(unlisted) - _LISTED} more"
        raise RecordError(
            f"{source}: codes {listed} are not in the legend {legend.title!r}; "
            "add them to a YAML mapping"
        )
    # Positions of the codes among those present; the last one is for pixels without a code.
    positions = np.full(codes.shape, len(present))
    positions[labelled] = np.searchsorted(present, codes[labelled])
    meanings = [*(legend.codes[int(code)].candidates for code in present), ()]
    truth: Truth = {}
    for name in legend.known_classes:
        answers = [legend.presence(candidates, name) for candidates in meanings]
        mask = np.array([answer is True for answer in answers])[positions]
        unknown = np.array([answer is None for answer in answers])[positions]
        truth[name] = mask, unknown
    return truth


def legend(name: str | Path) -> Legend:
    """A legend: a name in ``legends.yaml``, a YAML file with a mapping, or ``mask:CLASS``.

    Raises:
        RecordError: no such legend or file, or a mapping that is malformed or names classes that
            SPEX does not have.
    """
    if str(name).startswith("mask:"):
        return single_class(str(name).removeprefix("mask:"))
    if str(name) in _named_legends():
        return _named_legends()[str(name)]
    path = Path(name)
    if not path.is_file():
        raise RecordError(
            f"{name} is neither a legend ({', '.join(_named_legends())}) nor a YAML file with a "
            "mapping of codes"
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(
            f"{path} is not YAML ({reason}); see legends.yaml for examples"
        ) from error
    return _parse(document, str(path))


def single_class(name: str) -> Legend:
    """The legend of a binary mask: 0 is not the class, 1 and 255 are.

    Raises:
        RecordError: SPEX has no such class.
    """
    present = CodeMeaning(name, _candidates(name, "mask"))
    codes = {0: CodeMeaning(f"not {name}", (OTHER,)), 1: present, 255: present}
    return Legend(f"mask of {name}", codes, outside_polygons=(OTHER,), is_mask=True)


@cache
def _named_legends() -> dict[str, Legend]:
    text = (files("instruction_data.sources") / "legends.yaml").read_text(encoding="utf-8")
    legends: dict[str, Legend] = {}
    for name, document in yaml.safe_load(text).items():
        class_codes: dict[int, str] = {}
        for entry in classes().values():
            class_codes |= dict.fromkeys(entry.codes.get(name, ()), entry.name)
        parsed = _parse(document, name, class_codes)
        if base := document.get("numbered"):
            codes = _renumbered(legends[base]) | dict(parsed.codes)
            parsed = Legend(parsed.title, codes, parsed.doubts)
        legends[name] = parsed
    return legends


def _renumbered(base: Legend) -> dict[int, CodeMeaning]:
    """The meaningful codes of a legend, numbered from 1 in their order."""
    ordered = [meaning for _, meaning in sorted(base.codes.items()) if meaning.candidates]
    return dict(enumerate(ordered, 1))


def _parse(document: Any, source: str, class_codes: Mapping[int, str] | None = None) -> Legend:
    """A legend from its YAML document.

    Args:
        document: the parsed YAML.
        source: name or file of the legend, named in messages.
        class_codes: class of codes whose meaning is left empty.
    """
    entries = document.get("codes") if isinstance(document, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise RecordError(
            f"{source} has no 'codes' mapping; write for example 'codes: {{1: water, 2: unknown}}'"
        )
    doubts = document.get("doubts", {})
    if not isinstance(doubts, dict):
        raise RecordError(
            f"{source}: 'doubts' is not a mapping; write for example 'doubts: {{cropland: [bare]}}'"
        )
    if len({isinstance(key, int) for key in entries}) > 1:
        raise RecordError(
            f"{source}: 'codes' mixes numbers and names; write either numbers only or names only"
        )
    codes: dict[int, CodeMeaning] = {}
    for number, (key, value) in enumerate(entries.items()):
        name, meaning = key, value
        if isinstance(value, dict) and value:
            name, meaning = next(iter(value.items()))
        code = key if isinstance(key, int) else _NAMES_FROM + number
        meaning = meaning or (class_codes or {}).get(code, "")
        codes[code] = CodeMeaning(str(name), _candidates(meaning, source))
    return Legend(
        title=str(document.get("title", source)),
        codes=codes,
        doubts={labelled: _candidates(names, source) for labelled, names in doubts.items()},
        outside_polygons=_candidates(document.get("rest", UNKNOWN), source),
    )


def _candidates(meaning: object, source: str) -> tuple[str, ...]:
    """Classes of a meaning: a list, or a text such as "cropland or grassland"."""
    parts = meaning if isinstance(meaning, list) else str(meaning).split(" or ")
    names = tuple(str(name).strip() for name in parts)
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
    """Whether a class is another one or its child."""
    return other in (name, _parent(name))


def _related(name: str, other: str) -> bool:
    return _within(name, other) or _within(other, name)


def _normalized(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())
