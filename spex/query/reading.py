"""What a request asks for, as it was understood: the result of ``read_request``."""

from __future__ import annotations

from dataclasses import dataclass, field

from spex.query.constraints import Constraints

LANGUAGES = ("en", "es", "pt", "fr", "de", "zh")
"""ISO 639-1 codes of the languages that requests are read in and answers are written in."""


@dataclass(frozen=True)
class Understood:
    """A part of a reading and the words of the request that it came from.

    Attributes:
        what: as in a span, for example ``class=water`` or ``min_area=1ha``.
        words: of the request; of an earlier turn where the part was carried over.
    """

    what: str
    words: str


@dataclass(frozen=True)
class Remark:
    """Something assumed that the answer must say.

    Attributes:
        kind: a key of the table of remarks in ``wording/``: ``typo`` (a word read as another),
            ``nearest`` (no class for the word, a wider one is mapped), ``implied`` (a class that
            the request does not name), ``distance`` (no distance stated, so one was assumed),
            ``implied_size`` (a word such as pond stands for a size), ``doubt`` (words that may be
            meant otherwise).
        words: of the request.
        value: what they were read as: a known word, a class name, a constraint.
    """

    kind: str
    words: str
    value: str


@dataclass(frozen=True)
class RequestedMask:
    """One mask that a request asks for.

    Attributes:
        class_name: a name of ``classes.yaml``, or ``any``.
        phrase: the person's words for the class.
        constraints: what the mask must meet.
        understood: the class and each constraint with their words.
    """

    class_name: str
    phrase: str
    constraints: Constraints = field(default_factory=Constraints)
    understood: tuple[Understood, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A request as it was understood. It depends on the conversation, never on a scene.

    Exactly one of ``masks``, ``whole_scene``, ``refusal`` and ``reply`` is set.

    Attributes:
        language: one of ``LANGUAGES``.
        masks: what to extract, in the order of the answer.
        whole_scene: whether a map of all top classes is asked for.
        refusal: why nothing can be extracted: a key of the table of refusals in ``wording/`` and
            the words of the request that are the reason.
        reply: a key of the table of replies in ``wording/`` for what asks for no extraction:
            ``greeting``, ``thanks``, ``bye``, ``help``, ``nonsense``.
        ignored: words that could have mattered and are in nothing of the above.
        remarks: assumptions that the answer must state.
        asks: what the answer is to dwell on, of ``why``, ``count``, ``share``, ``sure``.
    """

    language: str
    masks: tuple[RequestedMask, ...] = ()
    whole_scene: bool = False
    refusal: tuple[str, str] | None = None
    reply: str | None = None
    ignored: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    asks: frozenset[str] = frozenset()
