"""A paragraph about one mask: what was executed, how much and where, what speaks for and against.

A sentence that would say nothing is left out: an index that does not set the mask apart, shares
below half a percent, a difference from the rules below a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spex.evidence.classes import is_calibrated, land_class
from spex.postprocess.doubts import Doubts
from spex.postprocess.fact_text import (
    SMALL_SHARE,
    area_text,
    certainty_text,
    doubt_text,
    fact_text,
    number_text,
    number_text_short,
    share_text,
)
from spex.postprocess.facts import MaskFacts
from spex.query.constraints import ANY, Constraints
from spex.query.wording import class_title, clauses, listed, paragraph, with_constraints, wording

_LEFT_OUT = (0.05, 2.0)
"""Of the mask's area: less is not worth a sentence, and of more the index alone says nothing."""
_DIFFERENCE = 0.1  # of the area that is the class by the rules or by the probability
_COARSE_GSD_M = 3.0  # single houses and roads are narrower than about three of these


@dataclass(frozen=True)
class Image:
    """What of an image decides which classes it can show.

    Attributes:
        roles: of its bands.
        level: processing level.
        gsd_m: size of a pixel; ``None`` if it is not known.
    """

    roles: Sequence[str]
    level: str
    gsd_m: float | None


def mask_paragraph(facts: MaskFacts, image: Image, language: str = "en") -> str:
    """The paragraph, its first words in bold.

    Args:
        facts: of the mask; it is not empty.
        image: that it was made from.
        language: one of ``LANGUAGES``.
    """
    span = facts.span
    words = wording(language)["report"]
    head = with_constraints(f"**{capitalised(span.phrase)}**", span.constraints, language)
    extent = words["extent"].format(
        head=head,
        area=fact_text(facts, "area", None, language),
        share=fact_text(facts, "share", None, language),
        regions=fact_text(facts, "regions", None, language),
        place=_place(facts, language),
    )
    sentences = [extent]
    if span.class_name != ANY and facts.doubts is not None:
        sentences += [
            _supported(facts, image, language),
            _against(facts, image, language),
            _left_out(facts, facts.doubts, language),
            _sure(facts, facts.doubts, language),
            _rules(facts, facts.doubts, language),
            *_limits(facts, image, language),
        ]
    return paragraph(sentences, language)


def _place(facts: MaskFacts, language: str) -> str:
    """Where most of the mask lies; nothing where a constraint has said it already."""
    words = wording(language)["report"]
    if facts.location in facts.span.constraints.where:
        return ""
    return str(words["place"].format(words["places"][facts.location]))


def map_line(facts: MaskFacts, image: Image, language: str = "en") -> str:
    """A line about one class of a map of all classes."""
    words = wording(language)["report"]
    parts = [certainty_text(facts, language), *against_clauses(facts, image, language)]
    title = f"**{capitalised(facts.span.phrase)}**"
    return str(words["map_line"].format(title=title, clauses=clauses(parts, language)))


def capitalised(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def against_clauses(facts: MaskFacts, image: Image, language: str = "en") -> list[str]:
    """What of the mask speaks against it."""
    words = wording(language)["report"]
    doubts = facts.doubts
    if doubts is None or doubts.left_out is None:
        return []
    clauses = []
    side = _side(facts, image)
    index = facts.evidence.get(doubts.beyond)
    if index is not None and index.inside is not None and index.threshold is not None:
        beyond = index.inside > index.threshold
        if side is not None and beyond != (side == "above"):
            inside = number_text(index.inside, language)
            threshold = number_text(index.threshold, language)
            clauses.append(
                words["mean_wrong"].format(index=doubts.beyond, inside=inside, threshold=threshold)
            )
    if side is not None and doubts.wrong_side >= SMALL_SHARE:
        share = share_text(doubts.wrong_side, language)
        key = "wrong_below" if side == "above" else "wrong_above"
        clauses.append(words[key].format(share=share, index=doubts.beyond))
    if doubts.similar and doubts.similar[1] >= SMALL_SHARE:
        name, share_of_mask = doubts.similar
        share = share_text(share_of_mask, language)
        clauses.append(words["similar"].format(share=share, title=class_title(name, language)))
    return clauses


def _side(facts: MaskFacts, image: Image) -> str | None:
    """On which side of its index's threshold the class lies; None without an index."""
    if facts.doubts is None or not facts.doubts.beyond:
        return None
    recipe = land_class(facts.span.class_name).recipe(image.roles, image.level)
    return None if recipe is None else "above" if recipe.conditions[0].above else "below"


def _supported(facts: MaskFacts, image: Image, language: str) -> str:
    """The index of the class, where it sets the mask apart in the direction of the class."""
    words = wording(language)["report"]
    side = _side(facts, image)
    doubts = facts.doubts
    index = facts.evidence.get(doubts.beyond) if doubts is not None else None
    if doubts is None or side is None or index is None or not index.telling:
        return ""
    sign = 1 if side == "above" else -1
    values = [index.inside, index.outside, index.threshold]
    inside, outside, threshold = (None if value is None else sign * value for value in values)
    if inside is None or outside is None or threshold is None:
        return ""
    if inside <= outside or inside <= threshold:
        return ""
    stated = [number_text(value, language) for value in values]
    return str(
        words["supported"].format(
            index=doubts.beyond, inside=stated[0], outside=stated[1], threshold=stated[2]
        )
    )


def _against(facts: MaskFacts, image: Image, language: str) -> str:
    words = wording(language)["report"]
    doubts = facts.doubts
    parts = against_clauses(facts, image, language)
    if parts:
        return str(words["against"].format(clauses=clauses(parts, language)))
    if doubts is None or not doubts.beyond or doubts.similar is None:
        return ""
    return str(words["none_against"].format(index=doubts.beyond))


def _left_out(facts: MaskFacts, doubts: Doubts, language: str) -> str:
    """What lies beyond the threshold outside the mask, unless what was asked explains it."""
    if doubts.left_out is None or doubts.against is None or not doubts.beyond:
        return ""
    least, most = _LEFT_OUT
    telling = least <= doubts.left_out / _size(facts) <= most
    if not telling or doubts.against[0].kind in _EXPLAINED:
        return ""
    in_metres = facts.area_m2 is not None
    clause = doubt_text(doubts, "left_out", in_metres=in_metres, language=language)
    words = wording(language)["report"]
    return str(words["left_out"].format(clause=capitalised(clause)))


_EXPLAINED = ("asked", "other_mask")


def _size(facts: MaskFacts) -> float:
    return facts.pixels if facts.area_m2 is None else facts.area_m2


def _area(facts: MaskFacts, size: float, language: str) -> str:
    return area_text(None if facts.area_m2 is None else size, size, language)


def _sure(facts: MaskFacts, doubts: Doubts, language: str) -> str:
    words = wording(language)["report"]
    certainty = words["certainty"].format(clause=capitalised(certainty_text(facts, language)))
    # A constraint may keep what comes close out of the mask.
    if facts.span.constraints != Constraints() or doubts.almost < SMALL_SHARE * _size(facts):
        return str(certainty)
    almost = words["almost"].format(area=_area(facts, doubts.almost, language))
    return paragraph([certainty, almost], language)


def _rules(facts: MaskFacts, doubts: Doubts, language: str) -> str:
    rules = doubts.rules
    if rules is None or rules.share <= _DIFFERENCE:
        return ""
    words = wording(language)["report"]
    place = words["places"][rules.location]
    if facts.span.constraints != Constraints():
        place = words["rules_place"].format(place=place)
    if not rules.both and not rules.only_rules:
        return str(words["rules_none"])
    key = "rules_differ"
    if not rules.only_mask or not rules.only_rules:
        key = "rules_missing" if rules.only_mask else "rules_added"
    return str(
        words[key].format(
            missing=_area(facts, rules.only_mask, language),
            added=_area(facts, rules.only_rules, language),
            place=place,
        )
    )


def _limits(facts: MaskFacts, image: Image, language: str) -> list[str]:
    """What these bands cannot show of the class."""
    words = wording(language)
    report = words["report"]
    name = facts.span.class_name
    this = land_class(name)
    title = class_title(name, language)
    recipe = this.recipe(image.roles, image.level)
    sentences = []
    if recipe is not None and recipe.weak:
        others = [class_title(other, language) for other in this.confused_with]
        if others:
            others_text = listed(others, language)
            sentences.append(report["weak"].format(title=title, others=others_text))
        else:
            sentences.append(report["weak_alone"].format(title=title))
    missing = _missing_bands(name, image)
    if missing:
        bands = listed(list(dict.fromkeys(words["bands"][role] for role in missing)), language)
        sentences.append(report["better"].format(title=title, bands=bands))
    if name in ("building", "road") and image.gsd_m and image.gsd_m > _COARSE_GSD_M:
        gsd = number_text_short(image.gsd_m, language)
        sentences.append(report["coarse"].format(gsd=gsd))
    return sentences


def _missing_bands(name: str, image: Image) -> list[str]:
    """Roles that the best rule of a class needs and the image lacks."""
    levels = {"any", image.level, "calibrated" if is_calibrated(image.level) else "display"}
    for recipe in land_class(name).recipes:
        if recipe.level in levels:
            return sorted(recipe.roles - set(image.roles))
    return []
