"""Why a mask is where it is: fact slots, which the raster fills, and plain sentences.

``false_claims`` reads the plain sentences of an answer and derives each of them from the evidence
again. The shipped model has learned these sentences; a change of their words needs new training.
"""

from __future__ import annotations

import re

from instruction_data.dialogues.words import WordingSampler, load_wording
from spex.evidence.class_evidence import ClassEvidence
from spex.evidence.class_words import resolve_class
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene_evidence import SceneEvidence

WEAK = "No single index separates this class."
CLEAR = "Its index alone sets it well apart."
DISPLAY = "These are display values, so no physical threshold holds."
NOTHING_STANDS_OUT = "No land-cover class stands out in this scene; ask for one by name."
UNAVAILABLE = "{title} cannot be told here: it {reason}."
_CLEAR_DIFFERENCE = 0.3  # of an index's means inside and outside of a class that is clear
_SENTENCE_COUNTS = {"short": (1, 1), "middle": (2, 3), "long": (4, 6)}
_CLAIM = re.compile(
    r"<seg class=(\w+)|" + "|".join(map(re.escape, (WEAK, CLEAR, DISPLAY, NOTHING_STANDS_OUT)))
)
_UNAVAILABLE_CLAIM = re.compile(
    r"(?:^|[.>] ?)([A-Z][a-z -]+) cannot be told here: it (.*?)\.(?= |<|$)"
)
_LANGUAGES = ("es", "fr", "de", "pt", "zh")
_FOREIGN_UNAVAILABLE = [
    load_wording(language)["unavailable"].partition("{")[0] for language in _LANGUAGES
]
_FOREIGN_UNAVAILABLE_CLAIM = re.compile(
    "(?:" + "|".join(map(re.escape, _FOREIGN_UNAVAILABLE)) + ")([^.<]+)"
)


def nameable_index(name: str, evidence: SceneEvidence, evidence_text: str) -> str:
    """The index of a class, if an answer may name it; else an empty text.

    Args:
        name: the class.
        evidence: of the scene.
        evidence_text: must have a line for the class.
    """
    index = evidence.classes[name].index
    line = re.search(rf"^{name}(?: \(weak\))?: ", evidence_text, re.MULTILINE)
    return index if line and index in OFFERED_INDICES else ""


def draw_argument(
    sampler: WordingSampler, name: str, evidence: SceneEvidence, evidence_text: str, length: str
) -> str:
    """Draw one to six sentences on why the mask of a class is where it is.

    Args:
        sampler: draws the sentences.
        name: the class.
        evidence: of the scene.
        evidence_text: what the prompt says about it; without a line for the class no index is
            named.
        length: ``short``, ``middle`` or ``long``.
    """
    class_evidence = evidence.classes[name]
    index = nameable_index(name, evidence, evidence_text)
    chosen = []
    if index:
        means = f"{index} is <fact:index:{index}> inside and <fact:outside:{index}> outside"
        threshold = f", the threshold is <fact:threshold:{index}>" if length != "short" else ""
        chosen.append(f"{means}{threshold}.")
    candidates = ["Among similar classes, <fact:confusion>.", "Outside the mask, <fact:left_out>."]
    if index:
        candidates.append(f"{index} is <fact:contrast:{index}>.")
        if class_evidence.weak:
            candidates.append(WEAK)
        elif _is_clear(class_evidence):
            candidates.append(CLEAR)
    candidates.append("The mean probability is <fact:probability>.")
    if evidence_text and not evidence.calibrated:
        candidates.append(DISPLAY)
    fewest, most = _SENTENCE_COUNTS[length]
    count = fewest + int(sampler.rng.random() * (most - fewest + 1))
    while candidates and len(chosen) < count:
        # Mostly in the order above, so that the strongest argument comes first.
        first = sampler.chance(0.6)
        position = 0 if first else int(sampler.rng.random() * len(candidates))
        chosen.append(candidates.pop(position))
    return " ".join(chosen)


def unavailable_sentence(name: str, evidence: SceneEvidence) -> str:
    """The sentence on why a class cannot be mapped from the scene's bands."""
    title = classes()[name].title
    return UNAVAILABLE.format(
        title=title[0].upper() + title[1:], reason=f"needs {evidence.classes[name].requires}"
    )


def _is_clear(class_evidence: ClassEvidence) -> bool:
    difference = round(abs(class_evidence.inside - class_evidence.outside), 2)
    present = class_evidence.status == "present"
    return present and not class_evidence.weak and difference >= _CLEAR_DIFFERENCE


def false_claims(text: str, evidence: SceneEvidence) -> list[str]:
    """Plain sentences of this module in an answer that the evidence contradicts, one line each."""
    problems = []
    class_name = ""
    for match in _CLAIM.finditer(text):
        if match[1]:
            class_name = match[1]
            continue
        problem = _check_sentence(match[0], class_name, evidence)
        if problem:
            problems.append(problem)
    return problems + _check_unavailable(text, evidence)


def _check_sentence(sentence: str, class_name: str, evidence: SceneEvidence) -> str:
    """What is wrong with a sentence after the span of a class; empty: nothing."""
    class_evidence = evidence.classes.get(class_name)
    if sentence == WEAK and not (class_evidence and class_evidence.weak):
        return f"{class_name}: an index separates it"
    if sentence == CLEAR and not (class_evidence and _is_clear(class_evidence)):
        return f"{class_name}: its index does not separate it clearly"
    if sentence == DISPLAY and evidence.calibrated:
        return "the values are calibrated, not display values"
    if sentence == NOTHING_STANDS_OUT and _any_parent_present(evidence):
        return "the evidence shows a class that stands out"
    return ""


def _any_parent_present(evidence: SceneEvidence) -> bool:
    for name, class_evidence in evidence.classes.items():
        if class_evidence.status == "present" and classes()[name].parent is None:
            return True
    return False


def _check_unavailable(text: str, evidence: SceneEvidence) -> list[str]:
    """What is wrong with the sentences on classes that cannot be mapped."""
    by_title = {spec.title.lower(): name for name, spec in classes().items()}
    problems = []
    for title, reason in _UNAVAILABLE_CLAIM.findall(text):
        class_evidence = evidence.classes.get(by_title.get(title.lower(), ""))
        unavailable = class_evidence is not None and class_evidence.status == "unavailable"
        if (
            class_evidence is None
            or not unavailable
            or f"needs {class_evidence.requires}" != reason
        ):
            problems.append(f"{title} can be mapped, or the reason is not: it {reason}")
    for words in _FOREIGN_UNAVAILABLE_CLAIM.findall(text):
        name = resolve_class(words)
        if name is None or evidence.classes[name].status != "unavailable":
            problems.append(f"{words} can be mapped")
    return problems
