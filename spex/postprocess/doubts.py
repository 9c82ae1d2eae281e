"""What speaks against a mask: a similar class that also fits, and pixels that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from spex.query.numbers import localised
from spex.query.wording import class_title, title_after_preposition, wording


@dataclass(frozen=True)
class Reason:
    """Why pixels beyond the threshold of a class are not in its mask.

    Attributes:
        kind: ``asked`` (a constraint took them away), ``other_mask`` (they belong to another mask),
            ``like`` (they fit the class ``name``), ``outside`` (they do not fit the parent class
            ``name``), ``above`` and ``below`` (the quantity ``name`` lies there), ``unlikely``.
        name: of a class, a spectral index or a band role.
        value: of the quantity, two decimals.
    """

    kind: Literal["asked", "other_mask", "like", "outside", "above", "below", "unlikely"]
    name: str = ""
    value: str = ""

    def text(self, language: str = "en") -> str:
        """The words that follow "most of it", such as "with NDVI above 0.30"."""
        words = wording(language)
        name = self.name
        after = ""
        if self.kind in ("like", "outside"):
            name = class_title(self.name, language)
            after = title_after_preposition(self.name, language)
        elif self.name:
            name = words["bands"].get(name, name)
        pattern: str = words["facts"]["reasons"][self.kind]
        return pattern.format(name=name, of=after, value=localised(self.value, language))


@dataclass(frozen=True)
class RulesDifference:
    """How the pixels of a class differ from those of its index rule, before any constraint.

    Areas are in square metres, or in pixels without map units. Pixels of other masks do not count.

    Attributes:
        both: area that is the class by both.
        only_mask: area that is the class by its probability alone.
        only_rules: area that is the class by the rule alone.
        location: where the two differ, in words.
    """

    both: float
    only_mask: float
    only_rules: float
    location: str

    @property
    def share(self) -> float:
        """Share of the area of either that is not that of both, 0-1."""
        difference = self.only_mask + self.only_rules
        return difference / (self.both + difference) if difference else 0.0

    def to_dict(self) -> dict[str, float]:
        """The areas, for ``extraction.json``."""
        return {
            "both": self.both, "only_mask": self.only_mask, "only_rules": self.only_rules
        }  # fmt: skip


@dataclass(frozen=True)
class Doubts:
    """What speaks against one mask. Areas are in square metres, or in pixels without map units.

    Attributes:
        similar: the similar class that fits most of the mask ("" if none fits), and the share of
            the mask's area that it fits; ``None`` where the scene's bands cannot show it.
        beyond: the index whose threshold ``left_out`` is about; "" where it is no index.
        left_out: area beyond that threshold outside the mask; ``None`` where the scene's bands
            cannot show it.
        left_out_pixels: the same as a number of pixels.
        against: why most (or part) of that area was left out, and its share of it; ``None`` where
            nothing was.
        wrong_side: share of the mask's area that lies on the other side of that threshold, 0-1.
        unsure: area of the mask with a probability below 0.6.
        almost: area outside all masks with a probability from 0.4 to 0.5.
        rules: what the index rules alone would map otherwise; ``None`` where they say nothing.
    """

    similar: tuple[str, float] | None
    beyond: str
    left_out: float | None
    left_out_pixels: int
    against: tuple[Reason, float] | None
    wrong_side: float
    unsure: float
    almost: float
    rules: RulesDifference | None

    def to_dict(self) -> dict[str, Any]:
        """Keys of the mask's entry in ``extraction.json``."""
        confusion = self.similar and {"class": self.similar[0] or None, "fraction": self.similar[1]}
        document: dict[str, Any] = {
            "confusion": confusion,
            "left_out": None,
            "wrong_side": None if self.left_out is None else self.wrong_side,
            "unsure": {"inside": self.unsure, "outside": self.almost},
            "rules": self.rules and self.rules.to_dict(),
        }
        if self.left_out is None:
            return document
        document["left_out"] = {
            "area": self.left_out,
            "pixels": self.left_out_pixels,
            "beyond": self.threshold_text(),
            "against": self.against and self.against[0].text(),
            "fraction": self.against[1] if self.against else 0.0,
        }
        return document

    def threshold_text(self, language: str = "en") -> str:
        """The threshold that ``left_out`` is about, such as "the NDWI threshold"."""
        words = wording(language)["facts"]
        if not self.beyond:
            return str(words["own_threshold"])
        return str(words["index_threshold"].format(self.beyond))
