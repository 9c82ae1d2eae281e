"""Measured facts as a person reads them: numbers with their units, and short clauses."""

from __future__ import annotations

import numpy as np

from spex.evidence.classes import classes
from spex.postprocess.doubts import Doubts
from spex.postprocess.facts import IndexFacts, MaskFacts

NOT_AVAILABLE = "not available"
_HECTARE_M2 = 1e4
_KM2_FROM_M2 = 1e7  # areas from here on are written in km²


def fact_text(facts: MaskFacts, name: str, index_name: str | None) -> str:
    """One fact slot as text; ``not available`` where it cannot be measured.

    Args:
        facts: of the mask.
        name: of the slot, such as ``area`` or ``index``.
        index_name: the spectral index of the slot; ``None`` where it has none.
    """
    if index_name is not None:
        return _index_text(facts.evidence.get(index_name), name)
    in_metres = facts.area_m2 is not None
    if name in ("confusion", "left_out"):
        return doubt_text(facts.doubts, name, in_metres=in_metres)
    if name in ("largest", "smallest", "mean_area"):
        sizes = facts.sizes() if facts.regions.count else np.zeros(1)
        size = {"largest": sizes.max(), "smallest": sizes.min(), "mean_area": sizes.mean()}[name]
        return area_text(float(size) if in_metres else None, float(size))
    if name == "probability":
        return _number_text(facts.mean_probability)
    texts = {
        "area": area_text(facts.area_m2, facts.pixels),
        "share": share_text(facts.fraction),
        "count": f"{facts.regions.count:,}",
        "location": facts.location,
    }
    return texts[name]


def area_text(area_m2: float | None, pixels: float) -> str:
    """An area in m², ha or km²; in pixels without map units."""
    if area_m2 is None:
        return f"{pixels:,.0f} px"
    if area_m2 < _HECTARE_M2:
        return f"{_digits(area_m2)} m²"
    if area_m2 < _KM2_FROM_M2:
        return f"{_digits(area_m2 / 1e4)} ha"
    return f"{_digits(area_m2 / 1e6)} km²"


def share_text(fraction: float) -> str:
    """A share of the scene's valid area in percent."""
    percent = 100 * fraction
    tiny = 0 < fraction < 1e-3
    return f"{format(percent, '.1g') if tiny else _digits(percent)} %"


def doubt_text(doubts: Doubts | None, name: str, *, in_metres: bool) -> str:
    """The slots ``confusion`` and ``left_out`` as clauses.

    Args:
        doubts: of the mask; ``None`` if they were not measured.
        name: of the slot.
        in_metres: whether areas are in square metres.
    """
    if doubts is None:
        return NOT_AVAILABLE
    return _confusion_text(doubts) if name == "confusion" else _left_out_text(doubts, in_metres)


def _confusion_text(doubts: Doubts) -> str:
    if doubts.similar is None:
        return "these bands cannot show whether a similar class fits"
    name, share = doubts.similar
    if not name:
        return "no similar class fits the mask"
    return f"{share_text(share)} of the mask also looks like {classes()[name].title}"


def _left_out_text(doubts: Doubts, in_metres: bool) -> str:
    if doubts.left_out is None:
        return "these bands cannot show what was left out"
    if not doubts.left_out:
        return f"nothing beyond {doubts.beyond} was left out"
    area = area_text(doubts.left_out if in_metres else None, doubts.left_out_pixels)
    reason, share = doubts.against
    extent = "most" if share > 0.5 else "part"
    return f"{area} beyond {doubts.beyond} were left out, {extent} of it {reason}"


def _index_text(index_facts: IndexFacts | None, name: str) -> str:
    if name == "contrast":
        return _contrast_text(index_facts)
    if index_facts is None:
        return NOT_AVAILABLE
    values = {
        "index": index_facts.inside,
        "outside": index_facts.outside,
        "threshold": index_facts.threshold,
    }
    return _number_text(values[name])


def _contrast_text(index_facts: IndexFacts | None) -> str:
    if index_facts is None or index_facts.inside is None or index_facts.outside is None:
        return NOT_AVAILABLE
    difference = index_facts.inside - index_facts.outside
    if abs(difference) < 0.005:
        return "the same inside and outside"
    return f"{abs(difference):.2f} {'higher' if difference > 0 else 'lower'} inside than outside"


def _number_text(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.2f}"


def _digits(value: float) -> str:
    """About three significant digits, and no decimals from 100 on."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
