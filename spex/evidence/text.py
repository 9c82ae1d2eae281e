"""The evidence as text attributes for the prompt, made from pixels only.

It is written for a small language model: short, regular, few digits, at most ``MAX_CHARS`` characters::

    prior       = [ "display values" NL ] { class NL } [ absent NL ] [ unavailable NL ] [ regions ] ;
    class       = NAME [ " (weak)" ] ": " INDEX (" above " | " below ") NUMBER ", share " PERCENT ", "
                  COUNT " regions, " ( "mostly " PLACE | "everywhere" ) ", inside " NUMBER [ ", outside " NUMBER ] ;
    absent      = "absent: " NAME [ " (" INDEX (" below " | " above ") NUMBER ")" ] { ", " ... } ;
    unavailable = "unavailable: " NAME " (" REASON ")" { ", " ... } ;
    regions     = "regions: " region { "; " region } ;
    region      = NAME " " PERCENT " " PLACE " at " X "," Y " box " LENGTH "x" WIDTH " angle " DEGREES
                  " " INDEX " " NUMBER ;

``display values`` stands where the scene is not calibrated. INDEX is a spectral index, a band role's reflectance
(``B``) or its z-score (``z:N``). PERCENT is a share of the valid pixels. X and Y are the centroid in shares of width
and height from the upper left corner. LENGTH and WIDTH are the sides of the smallest oriented rectangle in shares of
the scene's longer side, DEGREES (0-170) the direction of its length, counter-clockwise from east. An absent class
tells the side of its threshold on which (nearly) the whole scene lies. Classes that the query mentions come first,
then their parents and children, then the others by share. Regions are the
largest of the classes mentioned (of all, if none is), as many as fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.regions import Region
from spex.evidence.scene_evidence import ClassEvidence, SceneEvidence

MAX_CHARS = 1200
MAX_CLASSES = 8
_MAX_CLASSES_ASKED = 6  # a query leaves more room for the regions of what it asks for
_MAX_UNAVAILABLE = 3


def evidence_text(evidence: SceneEvidence, query: str = "", max_regions: int = 10) -> str:
    """The scene's evidence in the grammar above; ``query`` chooses what comes first and whose regions are told."""
    asked = mentioned_classes(query)
    items = sorted(
        evidence.classes.values(), key=lambda item: (_relevance(item.name, asked), -item.fraction)
    )
    present, absent, missing = (
        [item for item in items if item.status == status]
        for status in ("present", "absent", "unavailable")
    )
    rest = _listing("absent", absent, _absent)
    rest += _listing(
        "unavailable", missing[:_MAX_UNAVAILABLE], lambda item: f"{item.name} ({item.reason})"
    )
    lines = [] if evidence.calibrated else ["display values"]
    for item in present[: _MAX_CLASSES_ASKED if asked else MAX_CLASSES]:
        if len("\n".join([*lines, line := _class_line(item), *rest])) <= MAX_CHARS:
            lines.append(line)
    lines += rest
    told = [item for item in present if item.name in asked] if asked else present
    largest = sorted(
        ((region, item) for item in told for region in item.regions),
        key=lambda pair: -pair[0].pixels,
    )
    text = "\n".join(lines)
    for number, (region, item) in enumerate(largest[:max_regions]):
        entry = ("; " if number else "\nregions: ") + _region(region, item, evidence)
        if len(text) + len(entry) > MAX_CHARS:
            break
        text += entry
    return text


def _listing(
    title: str, items: list[ClassEvidence], entry: Callable[[ClassEvidence], str]
) -> list[str]:
    return [f"{title}: " + ", ".join(map(entry, items))] if items else []


def _relevance(name: str, asked: list[str]) -> int:
    """0 for a class asked for, 1 for its parent and children, 2 for the rest."""
    if name in asked:
        return 0
    land_class = classes()[name]
    return (
        1
        if land_class.parent in asked or any(child in asked for child in land_class.children)
        else 2
    )


def _percent(share: float) -> str:
    return (
        f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.00095 else f"{share:.2%}"
    )


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # adding zero turns -0.00 into 0.00


def _class_line(item: ClassEvidence) -> str:
    place = "everywhere" if item.location == "everywhere" else f"mostly {item.location}"
    outside = f", outside {_number(item.outside)}" if math.isfinite(item.outside) else ""
    rule = f"{item.index} {'above' if item.above else 'below'} {_number(item.threshold)}"
    return (
        f"{item.name}{' (weak)' if item.weak else ''}: {rule}, "
        f"share {_percent(item.fraction)}, {item.region_count} regions, {place}, inside {_number(item.inside)}{outside}"
    )


def _absent(item: ClassEvidence) -> str:
    if classes()[item.name].parent is not None:
        return item.name
    return (
        f"{item.name} ({item.index} {'below' if item.above else 'above'} {_number(item.threshold)})"
    )


def _region(region: Region, item: ClassEvidence, evidence: SceneEvidence) -> str:
    height, width = evidence.shape
    longer = max(height, width)
    (x0, y0), (x1, y1), (x2, y2), _ = ((x * width, y * height) for x, y in region.box)
    sides = sorted(
        [
            (math.hypot(x1 - x0, y1 - y0), x1 - x0, y1 - y0),
            (math.hypot(x2 - x1, y2 - y1), x2 - x1, y2 - y1),
        ]
    )
    (short, *_), (long, dx, dy) = sides
    angle = round(math.degrees(math.atan2(-dy, dx)) % 180, -1) % 180
    name, mean = next(iter(region.stats.items()))
    x, y = region.centroid
    return (
        f"{item.name} {_percent(region.pixels / evidence.valid_pixels)} {region.location} at {x:.2f},{y:.2f} "
        f"box {long / longer:.2f}x{short / longer:.2f} angle {angle:.0f} {name} {_number(mean)}"
    )
