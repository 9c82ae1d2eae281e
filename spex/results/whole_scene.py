"""A map of a whole scene: its top classes, each pixel in one of them or in none.

Which classes a scene can show, its evidence says; which it does show, the masks say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.facts import MaskFacts
from spex.query.wording import reason_text


class TopClasses(NamedTuple):
    """The classes without a parent.

    Attributes:
        shown: names of those that a scene can show.
        hidden: names of the others, each with the reason.
    """

    shown: tuple[str, ...]
    hidden: tuple[tuple[str, str], ...]


def top_classes(evidence: SceneEvidence, language: str = "en") -> TopClasses:
    """Sort the top classes by whether the bands of a scene can show them.

    Args:
        evidence: of the scene.
        language: of the reasons.
    """
    shown = []
    hidden = []
    for name, land_class in classes().items():
        if land_class.parent is not None:
            continue
        state = evidence.classes[name]
        if state.status == "unavailable":
            hidden.append((name, reason_text(state, language)))
        else:
            shown.append(name)
    return TopClasses(tuple(shown), tuple(hidden))


def unknown_share(facts: Sequence[MaskFacts]) -> float:
    """Share of the valid scene that is in no mask, 0-1."""
    return max(0.0, 1 - sum(mask_facts.fraction for mask_facts in facts))
