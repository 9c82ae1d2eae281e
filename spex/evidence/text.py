"""The evidence text: the evidence of a scene in words for the prompt, made from pixels only.

It is written for a small language model: short, regular, few digits, at most ``MAX_CHARS``
characters::

    evidence    = [ "display values" NL ] { class NL } [ absent NL ] [ unavailable NL ]
                  [ regions ] ;
    class       = NAME [ " (weak)" ] ": " INDEX (" above " | " below ") NUMBER
                  ", share " PERCENT ", " COUNT " regions, " ( "mostly " PLACE | "everywhere" )
                  ", inside " NUMBER [ ", outside " NUMBER ] ;
    absent      = "absent: " NAME [ " (" INDEX (" below " | " above ") NUMBER ")" ] { ", " ... } ;
    unavailable = "unavailable: " NAME " (needs " REQUIREMENT ")" { ", " ... } ;
    regions     = "regions: " region { "; " region } ;
    region      = NAME " " PERCENT " " PLACE " at " X "," Y " box " LENGTH "x" WIDTH
                  " angle " DEGREES " " INDEX " " NUMBER ;

``display values`` stands where the scene is not calibrated. INDEX is a spectral index, a band
role's reflectance (``B``) or its z-score (``z:N``). PERCENT is a share of the valid pixels. X and Y
are the centroid in shares of width and height from the upper left corner. LENGTH and WIDTH are the
sides of the smallest oriented rectangle in shares of the scene's longer side, DEGREES (0-170) the
direction of its length, counter-clockwise from east. An absent class has the side of its threshold
on which (nearly) the whole scene lies. Classes that the query mentions come first, then their
parents and children, then the others by share. Regions are the largest of the classes mentioned
(of all, if none is), as many as fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from spex.evidence.class_evidence import ClassEvidence
from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.regions import Region
from spex.evidence.scene_evidence import SceneEvidence

MAX_CHARS = 1200
MAX_CLASSES = 8
_MAX_CLASSES_MENTIONED = 6  # leaves more room for their regions
_MAX_UNAVAILABLE = 3


def evidence_text(evidence: SceneEvidence, query: str = "", max_regions: int = 10) -> str:
    """The scene's evidence in the grammar above.

    Args:
        evidence: of the scene.
        query: classes that it mentions come first, and only their regions are described.
        max_regions: regions to describe at most.
    """
    mentioned = mentioned_classes(query)
    by_status: dict[str, list[ClassEvidence]] = {}
    for item in sorted(
        evidence.classes.values(),
        key=lambda item: (_relevance(item.name, mentioned), -item.fraction),
    ):
        by_status.setdefault(item.status, []).append(item)
    present = by_status.get("present", [])
    lists = _listing("absent", by_status.get("absent", []), _absent)
    lists += _listing(
        "unavailable", by_status.get("unavailable", [])[:_MAX_UNAVAILABLE], _unavailable
    )
    lines = [] if evidence.calibrated else ["display values"]
    for item in present[: _MAX_CLASSES_MENTIONED if mentioned else MAX_CLASSES]:
        line = _class_line(item)
        if len("\n".join([*lines, line, *lists])) <= MAX_CHARS:
            lines.append(line)
    text = "\n".join(lines + lists)
    described = [item for item in present if item.name in mentioned] if mentioned else present
    for number, (region, item) in enumerate(_largest_regions(described)[:max_regions]):
        entry = ("; " if number else "\nregions: ") + _region(region, item, evidence)
        if len(text) + len(entry) > MAX_CHARS:
            break
        text += entry
    return text


def _largest_regions(items: list[ClassEvidence]) -> list[tuple[Region, ClassEvidence]]:
    """Regions of some classes, each with its class, the largest first."""
    pairs = []
    for item in items:
        pairs += [(region, item) for region in item.regions]
    return sorted(pairs, key=lambda pair: -pair[0].pixels)


def _listing(
    title: str, items: list[ClassEvidence], entry: Callable[[ClassEvidence], str]
) -> list[str]:
    return [f"{title}: " + ", ".join(map(entry, items))] if items else []


def _unavailable(item: ClassEvidence) -> str:
    # The shipped language model has learned "needs"; answers to people say "requires".
    return f"{item.name} (needs {item.requires})"


def _relevance(name: str, mentioned: list[str]) -> int:
    """0 for a class that the query mentions, 1 for its parent and children, 2 for the others."""
    if name in mentioned:
        return 0
    land_class = classes()[name]
    related = (land_class.parent, *land_class.children)
    return 1 if any(other in mentioned for other in related) else 2


def _percent(share: float) -> str:
    if share >= 0.095:
        return f"{share:.0%}"
    return f"{share:.1%}" if share >= 0.00095 else f"{share:.2%}"


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # adding zero turns -0.00 into 0.00


def _class_line(item: ClassEvidence) -> str:
    place = "everywhere" if item.location == "everywhere" else f"mostly {item.location}"
    outside = f", outside {_number(item.outside)}" if math.isfinite(item.outside) else ""
    rule = f"{item.index} {'above' if item.above else 'below'} {_number(item.threshold)}"
    return (
        f"{item.name}{' (weak)' if item.weak else ''}: {rule}, share {_percent(item.fraction)}, "
        f"{item.region_count} regions, {place}, inside {_number(item.inside)}{outside}"
    )


def _absent(item: ClassEvidence) -> str:
    if classes()[item.name].parent is not None:
        return item.name
    return (
        f"{item.name} ({item.index} {'below' if item.above else 'above'} {_number(item.threshold)})"
    )


def _region(region: Region, item: ClassEvidence, evidence: SceneEvidence) -> str:
    height, width = evidence.shape
    corners = [(x * width, y * height) for x, y in region.box[:3]]
    sides = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        sides.append((math.hypot(x1 - x0, y1 - y0), x1 - x0, y1 - y0))
    (short, *_), (long, dx, dy) = sorted(sides)
    angle = round(math.degrees(math.atan2(-dy, dx)) % 180, -1) % 180
    longer = max(height, width)
    x, y = region.centroid
    index_name, mean = next(iter(region.stats.items()))
    return (
        f"{item.name} {_percent(region.pixels / evidence.valid_pixels)} {region.location} "
        f"at {x:.2f},{y:.2f} box {long / longer:.2f}x{short / longer:.2f} angle {angle:.0f} "
        f"{index_name} {_number(mean)}"
    )
