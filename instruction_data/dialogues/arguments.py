"""Arguments from evidence: by fact slots, which the raster fills, and by plain words where the evidence decides them.

``false_claims`` reads the plain words of an answer back and derives each of them from the evidence again.
"""

from __future__ import annotations

import re

from instruction_data.dialogues.words import Words, wording
from spex.evidence.class_words import resolve_class
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene_evidence import ClassEvidence, SceneEvidence

WEAK = "No single index separates this class."
CLEAR = "Its index alone sets it well apart."
DISPLAY = "These are display values, so no physical threshold holds."
NOTHING_STANDS_OUT = "No land-cover class stands out in this scene; ask for one by name."
UNAVAILABLE = "{title} cannot be told here: it {reason}."
_FAR_APART = 0.3  # an index's means inside and outside, by which a class stands clear
_LENGTHS = {"short": (1, 1), "middle": (2, 3), "long": (4, 6)}
_CLAIM = re.compile(
    r"<seg class=(\w+)|" + "|".join(map(re.escape, (WEAK, CLEAR, DISPLAY, NOTHING_STANDS_OUT)))
)
_LANGUAGES = ("es", "fr", "de", "pt", "zh")
_SHORT_OF_BANDS = re.compile(
    "(?:"
    + "|".join(re.escape(wording(code)["unavailable"].partition("{")[0]) for code in _LANGUAGES)
    + ")([^.<]+)"
)


def named_index(name: str, evidence: SceneEvidence, prior: str) -> str:
    """The class's index, if the prior gives the class a line and a person could ask for the index; else nothing."""
    index = evidence.classes[name].index
    told = re.search(rf"^{name}(?: \(weak\))?: ", prior, re.MULTILINE)
    return index if told and index in OFFERED_INDICES else ""


def argument(words: Words, name: str, evidence: SceneEvidence, prior: str, length: str) -> str:
    """Why a mask is where it is, as one to six sentences; without a prior no index is named.

    Args:
        length: ``short``, ``middle`` or ``long``.
    """
    item, index = evidence.classes[name], named_index(name, evidence, prior)
    chosen = []
    if index:
        chosen.append(
            f"{index} is <fact:index:{index}> inside and <fact:outside:{index}> outside"
            + (f", the threshold is <fact:threshold:{index}>." if length != "short" else ".")
        )
    further = ["Among similar classes, <fact:confusion>.", "Outside the mask, <fact:left_out>."]
    if index:
        further.append(f"{index} is <fact:contrast:{index}>.")
        further.append(WEAK if item.weak else CLEAR if _clear(item) else "")
    further.append("The mean probability is <fact:probability>.")
    if prior and not evidence.calibrated:
        further.append(DISPLAY)
    further = [sentence for sentence in further if sentence]
    low, high = _LENGTHS[length]
    count = low + int(words.rng.random() * (high - low + 1))
    while further and len(chosen) < count:
        # Mostly in the order above, so that what weighs most is said first.
        chosen.append(
            further.pop(0 if words.chance(0.6) else int(words.rng.random() * len(further)))
        )
    return " ".join(chosen)


def unavailable(name: str, evidence: SceneEvidence) -> str:
    """The sentence that says why a class cannot be told from the scene's bands."""
    title = classes()[name].title
    return UNAVAILABLE.format(
        title=title[0].upper() + title[1:], reason=evidence.classes[name].reason
    )


def _clear(item: ClassEvidence) -> bool:
    return (
        item.status == "present"
        and not item.weak
        and round(abs(item.inside - item.outside), 2) >= _FAR_APART
    )


def false_claims(text: str, evidence: SceneEvidence) -> list[str]:
    """What an answer says in plain sentences of this module that the evidence does not bear out, one line each."""
    false = []
    owner = ""
    for piece in _CLAIM.finditer(text):
        item = evidence.classes.get(owner)
        if piece[1]:
            owner = piece[1]
        elif piece[0] == WEAK and not (item and item.weak):
            false.append(f"{owner}: an index separates it")
        elif piece[0] == CLEAR and not (item and _clear(item)):
            false.append(f"{owner}: its index does not set it well apart")
        elif piece[0] == DISPLAY and evidence.calibrated:
            false.append("the values are calibrated, not display values")
        elif piece[0] == NOTHING_STANDS_OUT and any(
            item.status == "present" and classes()[name].parent is None
            for name, item in evidence.classes.items()
        ):
            false.append("a class stands out by its evidence")
    for title, reason in re.findall(
        r"(?:^|[.>] ?)([A-Z][a-z -]+) cannot be told here: it (.*?)\.(?= |<|$)", text
    ):
        name = next(
            (name for name, about in classes().items() if about.title.lower() == title.lower()), ""
        )
        item = evidence.classes.get(name)
        if not item or item.status != "unavailable" or item.reason != reason:
            false.append(f"{title} can be told here, or for another reason than: it {reason}")
    for words in _SHORT_OF_BANDS.findall(text):
        known = resolve_class(words)
        if known is None or evidence.classes[known].status != "unavailable":
            false.append(f"{words} can be told here")
    return false
