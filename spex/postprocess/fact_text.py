"""Measured facts as a person reads them, in six languages: numbers with units, short clauses."""

from __future__ import annotations

import numpy as np

from spex.postprocess.doubts import Doubts
from spex.postprocess.facts import IndexFacts, MaskFacts
from spex.query.numbers import localised
from spex.query.wording import class_title, wording

_HECTARE_M2 = 1e4
SMALL_SHARE = 0.005
"""Shares of a mask below this are not worth a sentence."""
_SMALL_M2 = 10.0  # areas below are written with decimals
_KM2_FROM_M2 = 1e7  # areas from here on are written in km²


def fact_text(facts: MaskFacts, name: str, index_name: str | None, language: str = "en") -> str:
    """One fact slot as text; ``not available`` where it cannot be measured.

    Args:
        facts: of the mask.
        name: of the slot, such as ``area`` or ``index``.
        index_name: the spectral index of the slot; ``None`` where it has none.
        language: one of ``LANGUAGES``.
    """
    if index_name is not None:
        return _index_text(facts.evidence.get(index_name), name, language)
    in_metres = facts.area_m2 is not None
    if name in ("confusion", "left_out"):
        return doubt_text(facts.doubts, name, in_metres=in_metres, language=language)
    if name in ("largest", "smallest", "mean_area"):
        return _size_text(facts, name, language)
    if name in ("regions", "counted"):
        return _regions_text(facts, name, language)
    if name == "certainty":
        return certainty_text(facts, language)
    if name == "probability":
        return number_text(facts.mean_probability, language)
    texts = {
        "area": area_text(facts.area_m2, facts.pixels, language),
        "share": share_text(facts.fraction, language),
        "count": localised(f"{facts.regions.count:,}", language),
        "location": wording(language)["facts"]["locations"][facts.location],
    }
    return texts[name]


def area_text(area_m2: float | None, pixels: float, language: str = "en") -> str:
    """An area in m², ha or km²; in pixels without map units."""
    if area_m2 is None:
        number = f"{pixels:,.0f}"
        unit = "px"
    elif area_m2 < _HECTARE_M2:
        number = _digits(area_m2) if area_m2 < _SMALL_M2 else f"{area_m2:,.0f}"
        unit = "m2"
    elif area_m2 < _KM2_FROM_M2:
        number = _digits(area_m2 / 1e4)
        unit = "ha"
    else:
        number = _digits(area_m2 / 1e6)
        unit = "km2"
    words = wording(language)
    pattern = words["one_unit"].get(unit) if number == "1" else None
    return str((pattern or words["units"][unit]).format(localised(number, language)))


def share_text(fraction: float, language: str = "en") -> str:
    """A share of the scene's valid area in percent."""
    percent = 100 * fraction
    tiny = 0 < fraction < 1e-3
    number = format(percent, ".1g") if tiny else _digits(percent)
    if "e" in number:  # a share below a millionth
        number = f"{percent:.9f}".rstrip("0")
    return str(wording(language)["percent"].format(localised(number, language)))


def number_text(value: float | None, language: str = "en") -> str:
    """An index value or a probability, with two decimals."""
    if value is None:
        return str(wording(language)["facts"]["not_available"])
    return localised(f"{value:.2f}", language)


def number_text_short(value: float, language: str = "en") -> str:
    """A number without more digits than it needs, such as the size of a pixel."""
    return localised(f"{value:.4g}", language)


def doubt_text(doubts: Doubts | None, name: str, *, in_metres: bool, language: str = "en") -> str:
    """The slots ``confusion`` and ``left_out`` as clauses.

    Args:
        doubts: of the mask; ``None`` if they were not measured.
        name: of the slot.
        in_metres: whether areas are in square metres.
        language: one of ``LANGUAGES``.
    """
    if doubts is None:
        return str(wording(language)["facts"]["not_available"])
    if name == "confusion":
        return _confusion_text(doubts, language)
    return _left_out_text(doubts, in_metres, language)


def certainty_text(facts: MaskFacts, language: str = "en") -> str:
    """The mean probability, and how much of the mask is less probable than 0.6, as a clause."""
    words = wording(language)["facts"]
    probability = number_text(facts.mean_probability, language)
    unsure = facts.doubts.unsure if facts.doubts else 0.0
    whole = facts.pixels if facts.area_m2 is None else facts.area_m2
    if unsure < SMALL_SHARE * whole:
        return str(words["certainty"].format(probability=probability))
    area = area_text(None if facts.area_m2 is None else unsure, unsure, language)
    share = share_text(unsure / whole, language)
    return str(words["certainty_low"].format(probability=probability, area=area, share=share))


def _confusion_text(doubts: Doubts, language: str) -> str:
    words = wording(language)["facts"]
    if doubts.similar is None:
        return str(words["similar_unknown"])
    name, share = doubts.similar
    if not name:
        return str(words["similar_none"])
    title = class_title(name, language)
    return str(words["similar"].format(share=share_text(share, language), title=title))


def _left_out_text(doubts: Doubts, in_metres: bool, language: str) -> str:
    words = wording(language)["facts"]
    if doubts.left_out is None:
        return str(words["left_out_unknown"])
    beyond = doubts.threshold_text(language)
    if not doubts.left_out or doubts.against is None:
        return str(words["left_out_none"].format(beyond=beyond))
    area = area_text(doubts.left_out if in_metres else None, doubts.left_out_pixels, language)
    reason, share = doubts.against
    pattern = words["left_out_most" if share > 0.5 else "left_out_part"]
    return str(pattern.format(area=area, beyond=beyond, reason=reason.text(language)))


def _size_text(facts: MaskFacts, name: str, language: str) -> str:
    """The size of the largest or the smallest region, or of one on average."""
    sizes = facts.sizes() if facts.regions.count else np.zeros(1)
    size = float({"largest": sizes.max(), "smallest": sizes.min(), "mean_area": sizes.mean()}[name])
    return area_text(size if facts.area_m2 is not None else None, size, language)


def _regions_text(facts: MaskFacts, name: str, language: str) -> str:
    """How many regions there are, with their sizes."""
    singular, plural = wording(language)["facts"][name]
    if facts.regions.count == 1:
        return str(singular)
    count = localised(f"{facts.regions.count:,}", language)
    sizes = {name: _size_text(facts, name, language) for name in ("largest", "smallest")}
    return str(plural.format(count=count, **sizes))


def _index_text(index_facts: IndexFacts | None, name: str, language: str) -> str:
    if name == "contrast":
        return _contrast_text(index_facts, language)
    if index_facts is None:
        return str(wording(language)["facts"]["not_available"])
    values = {
        "index": index_facts.inside,
        "outside": index_facts.outside,
        "threshold": index_facts.threshold,
    }
    return number_text(values[name], language)


def _contrast_text(index_facts: IndexFacts | None, language: str) -> str:
    words = wording(language)["facts"]
    if index_facts is None or index_facts.inside is None or index_facts.outside is None:
        return str(words["not_available"])
    difference = index_facts.inside - index_facts.outside
    if abs(difference) < 0.005:
        return str(words["same"])
    pattern = words["higher" if difference > 0 else "lower"]
    return str(pattern.format(number_text(abs(difference), language)))


def _digits(value: float) -> str:
    """About three significant digits, and no decimals from 100 on."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
