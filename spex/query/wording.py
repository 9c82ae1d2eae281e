"""What people read, as data: ``wording/LANGUAGE.yaml``; constraints and classes in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from spex.evidence.class_evidence import ClassEvidence
from spex.evidence.classes import land_class
from spex.query.constraints import Constraints, Distance, IndexCondition, without_exponent
from spex.query.numbers import grouped, localised

_MOST_QUOTED = 120  # characters
QUOTATION = r"[“„«][^”“»]*[”“»]"
"""Pattern of a person's words in an answer, in the quotation marks of any of the languages."""


@cache
def wording(language: str) -> Mapping[str, Any]:
    """The sentences and words of one of ``LANGUAGES``, as its file has them."""
    path = files("spex.query") / "wording" / f"{language}.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def class_title(name: str, language: str = "en") -> str:
    """The name of a class for people; a class that was added has the one title it came with."""
    titles: Mapping[str, str] = wording(language)["classes"]
    return titles.get(name) or land_class(name).title


def title_after_preposition(name: str, language: str = "en") -> str:
    """The name of a class behind a word such as "from", in the form that the language asks for."""
    words = wording(language)["constraints"]
    return str(words["of"].get(name) or words["of_title"].format(class_title(name, language)))


def number_text(value: float, language: str = "en") -> str:
    """A number in full, as the language writes it; a minus stands before it."""
    sign = "-" if value < 0 else ""
    return sign + localised(grouped(without_exponent(abs(value))), language)


def quoted(text: str, language: str = "en") -> str:
    """Words of a person in quotation marks: the beginning of a long text, and no markup.

    Args:
        text: of the request.
        language: whose quotation marks are used.
    """
    plain = re.sub("[“”„«»]", "'", text).replace("<", "‹").replace(">", "›")
    if len(plain) > _MOST_QUOTED:
        plain = plain[:_MOST_QUOTED].rstrip() + " …"
    return str(wording(language)["quotes"].format(plain))


def listed(items: Sequence[str], language: str = "en") -> str:
    """``a, b, and c`` in the language."""
    lists = wording(language)["lists"]
    if len(items) == 2:
        return str(lists["two"].format(*items))
    return str(lists["comma"].join(items[:-1]) + lists["last"] * (len(items) > 1) + items[-1])


def _neither(items: Sequence[str], language: str) -> str:
    """``a, b or c`` behind a word that takes away."""
    lists = wording(language)["lists"]
    before = lists["comma"].join(items[:-1])
    return str(before + lists["neither"] * (len(items) > 1) + items[-1])


def paragraph(parts: Iterable[str], language: str = "en") -> str:
    """Sentences in a paragraph; empty ones are left out."""
    return str(wording(language)["between_sentences"].join(part for part in parts if part))


def clauses(parts: Iterable[str], language: str = "en") -> str:
    """Clauses of one sentence."""
    return str(wording(language)["lists"]["clauses"].join(parts))


def constraints_text(constraints: Constraints, language: str = "en") -> str:
    """All constraints of a span in words; empty where there are none.

    They follow the name of what is mapped: "of at least 1 ha in the northern half, without
    cropland".
    """
    return _joined([*_of_pixels(constraints, language), *_of_rank(constraints, language)], language)


def with_constraints(phrase: str, constraints: Constraints, language: str = "en") -> str:
    """What is mapped, with its constraints.

    Args:
        phrase: the words for the class, or its span in markup.
        constraints: of the mask.
        language: one of ``LANGUAGES``.
    """
    text = constraints_text(constraints, language)
    if not text:
        return phrase
    pattern = "span" if _of_pixels(constraints, language) else "span_of_rank"
    words = wording(language)["constraints"]
    return str(words[pattern].format(phrase=phrase, constraints=text))


def _joined(parts: Iterable[str], language: str) -> str:
    return str(wording(language)["constraints"]["join"].join(parts))


def _of_pixels(constraints: Constraints, language: str) -> list[str]:
    """Every constraint but those that pick regions by their rank."""
    words = wording(language)["constraints"]
    size = _size(constraints.min_area, constraints.max_area, language)
    place = _place(constraints.where, language)
    exclude = [class_title(name, language) for name in constraints.exclude]
    parts = [
        words["near_join"].join(filter(None, (size, place))),
        _distances("near", constraints.near, language),
        _distances("far", constraints.far, language),
        words["without"].format(_neither(exclude, language)) if exclude else "",
        _conditions(constraints.index, language),
    ]
    return [part for part in parts if part]


def _size(low: tuple[float, str] | None, high: tuple[float, str] | None, language: str) -> str:
    words = wording(language)["constraints"]
    if low and high:
        bounds = {"low": area_in_words(*low, language), "high": area_in_words(*high, language)}
        if low[1] == high[1]:
            bounds["low"] = number_text(low[0], language)
        return str(words["between"].format(**bounds))
    if low:
        return str(words["min_area"].format(area_in_words(*low, language)))
    return str(words["max_area"].format(area_in_words(*high, language))) if high else ""


def area_in_words(value: float, unit: str, language: str = "en") -> str:
    """An area as a constraint states it; ``unit`` is one of ``AREA_UNITS``, or ``m``."""
    words = wording(language)
    pattern = words["units"][unit]
    if value == 1:
        pattern = words["one_unit"].get(unit, pattern)
    return str(pattern.format(number_text(value, language)))


def _place(where: Sequence[str], language: str) -> str:
    words = wording(language)
    parts = words["constraints"]["where"]
    kept_parts = [parts[part][0] for part in where if not part.startswith("-")]
    taken = [parts[part[1:]][1] for part in where if part.startswith("-")]
    either = words["lists"]["either"].join(kept_parts)
    return _joined(filter(None, [either, *taken]), language)


def _distances(side: str, distances: Sequence[Distance], language: str) -> str:
    words = wording(language)["constraints"]
    texts = []
    for item in distances:
        name = title_after_preposition(item.class_name, language)
        distance = area_in_words(item.metres, "m", language)
        texts.append(words[side].format(distance=distance, name=name))
    return str(wording(language)["lists"]["all"].join(texts))


def _conditions(conditions: Sequence[IndexCondition], language: str) -> str:
    """Conditions of one index after each other, its name once."""
    words = wording(language)["constraints"]
    texts = []
    for name in dict.fromkeys(condition.name for condition in conditions):
        for number, condition in enumerate(item for item in conditions if item.name == name):
            value = number_text(condition.value, language)
            if number:
                texts.append(words[f"and_{condition.side}"].format(value))
            else:
                texts.append(words[condition.side].format(name, value))
    conditions = wording(language)["lists"]["all"].join(texts)
    return str(words["index"].format(conditions)) if texts else ""


def _of_rank(constraints: Constraints, language: str) -> list[str]:
    words = wording(language)["constraints"]
    texts = []
    for count, key in ((constraints.top, "largest"), (constraints.bottom, "smallest")):
        if count:
            one, several = words[key if count > 0 else f"all_but_{key}"]
            many = number_text(abs(count), language)
            texts.append(one if abs(count) == 1 else several.format(many))
    return texts


def reason_text(evidence: ClassEvidence, language: str = "en") -> str:
    """Why a class has its status in a scene, as a clause."""
    if language == "en":
        return evidence.reason
    patterns: Mapping[str, str] = wording(language)["evidence"]
    percent = wording(language)["percent"].format("")
    values = {
        key: localised(value, language).replace(" %", percent)
        for key, value in evidence.cause.values.items()
    }
    if "class" in values:
        values["title"] = class_title(values["class"], language)
    values["rule"] = _rule(evidence, language)
    values["requires"] = wording(language)["requirements"].get(evidence.requires, evidence.requires)
    return patterns[evidence.cause.key].format(**values)


def _rule(evidence: ClassEvidence, language: str) -> str:
    """The first condition of a class, such as "MNDWI above 0.05"."""
    words = wording(language)
    index = evidence.index.removeprefix("z:")
    name = words["bands"].get(index, index)
    if index != evidence.index:
        name = words["standardised"].format(name)
    value = localised(f"{evidence.threshold:.2f}", language)
    return str(words["constraints"]["above" if evidence.above else "below"].format(name, value))
