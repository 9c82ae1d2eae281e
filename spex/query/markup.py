"""What passes between a person, the language model and the raster: queries, prompts, spans, fact slots.

An answer is plain text. ``<seg class=water min_area=1ha where=north>open water</seg>`` owns exactly one mask; its
attributes are the constraints, executed exactly after decoding. ``<fact:area>`` stands for a measured quantity of the
nearest span before it and is filled from the written mask and the raster, so no number is ever invented.
``<refuse>reason</refuse>`` is a refusal.

Attributes of a span (all but ``class`` optional)::

    class=NAME           a name of classes.yaml
    min_area=1ha         smallest region kept; units ha, m2, km2, px; likewise max_area
    where=north          part of the scene: north south east west northeast northwest southeast southwest center
    top=1                only the N largest regions
    index=NDVI:above:0.6 only pixels whose index lies above or below; comma-separated for several
    not=cropland         pixels of another class taken away; comma-separated for several

Fact slots: area, share, count, largest, smallest, mean_area, location, probability, confusion (which neighbouring class
fits part of the mask as well), left_out (what lies beyond the class's threshold but outside the mask, and why),
index:NAME (mean inside), outside:NAME, threshold:NAME, contrast:NAME (how much higher or lower inside than outside).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from spex.errors import AnswerError, QueryError
from spex.evidence.class_words import mentioned_classes

MAX_QUERY_CHARS = 2000
PLACES = (
    "north",
    "south",
    "east",
    "west",
    "northeast",
    "northwest",
    "southeast",
    "southwest",
    "center",
)
AREA_UNITS: Mapping[str, float | None] = {
    "ha": 1e4,
    "m2": 1.0,
    "km2": 1e6,
    "px": None,
}  # square metres; px = pixels
FACTS = (
    "area", "share", "count", "largest", "smallest", "mean_area", "location", "probability", "confusion", "left_out",
)  # fmt: skip
INDEX_FACTS = ("index", "outside", "threshold", "contrast")

IMAGE_TOKEN = "<image>"
SPECIAL_TOKENS = (
    "<|pad|>", "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, "<seg", "</seg>", "<refuse>", "</refuse>",
    " class=", " min_area=", " max_area=", " where=", " top=", " index=", " not=",
    *(f"<fact:{name}>" for name in FACTS), *(f"<fact:{name}:" for name in INDEX_FACTS),
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_NUMBER = r"\d+(?:\.\d+)?"
_ATTRIBUTES = {
    "class": r"[a-z_]+",
    "min_area": rf"{_NUMBER}(?:ha|m2|km2|px)",
    "max_area": rf"{_NUMBER}(?:ha|m2|km2|px)",
    "where": "|".join(sorted(PLACES, key=len, reverse=True)),
    "top": r"[1-9]\d*",
    "index": rf"[A-Za-z0-9]+:(?:above|below):-?{_NUMBER}(?:,[A-Za-z0-9]+:(?:above|below):-?{_NUMBER})*",
    "not": r"[a-z_]+(?:,[a-z_]+)*",
}
SPAN_OPEN = r"<seg class=" + _ATTRIBUTES["class"] + "".join(
    rf"(?: {name}=(?:{pattern}))?" for name, pattern in _ATTRIBUTES.items() if name != "class"
) + ">"  # fmt: skip
_SPAN = re.compile(rf"({SPAN_OPEN})([^<>]*)</seg>")
_SLOT = re.compile(r"<fact:([a-z_]+)(?::([A-Za-z0-9]+))?>")
_REFUSAL = re.compile(r"<refuse>([^<>]*)</refuse>")


def _plain(value: float) -> str:
    """A number as the grammar takes it: no exponent, every digit that tells it from its neighbours."""
    return f"{Decimal(repr(float(value))).normalize():f}"


@dataclass(frozen=True)
class IndexCondition:
    """Only pixels whose spectral index ``name`` lies ``side`` of ``value``."""

    name: str
    side: Literal["above", "below"]
    value: float


@dataclass(frozen=True)
class Constraints:
    """What a span asks of its mask beyond the class. Areas are (value, unit)."""

    min_area: tuple[float, str] | None = None
    max_area: tuple[float, str] | None = None
    where: str | None = None
    top: int | None = None
    index: tuple[IndexCondition, ...] = ()
    exclude: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The constraints that are set, as in ``extraction.json``."""
        named = {
            "min_area": self.min_area and _plain(self.min_area[0]) + self.min_area[1],
            "max_area": self.max_area and _plain(self.max_area[0]) + self.max_area[1],
            "where": self.where,
            "top": self.top,
            "index": ",".join(f"{c.name}:{c.side}:{_plain(c.value)}" for c in self.index),
            "not": ",".join(self.exclude),
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Span:
    """One ``<seg>`` span: the class, the phrase shown, its constraints, and where it stands in the answer's text."""

    class_name: str
    phrase: str
    constraints: Constraints = field(default_factory=Constraints)
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Answer:
    """A parsed answer: the raw text, its spans in order, and the reason where it is a refusal."""

    text: str
    spans: tuple[Span, ...]
    refusal: str | None = None


def excluded(answer: Answer) -> tuple[str, ...]:
    """Classes that a span takes away (``not=``), each once: they are decoded after the spans and never shown."""
    return tuple(dict.fromkeys(name for span in answer.spans for name in span.constraints.exclude))


@dataclass(frozen=True)
class Exchange:
    """An earlier turn of a conversation: what was asked, and the answer in the model's own markup."""

    query: str
    answer: str


@dataclass(frozen=True)
class Plan:
    """What one query asks for: the answer with its spans, and whatever the predictor needs to decode them."""

    answer: Answer
    state: Any = None


def clean_query(query: str) -> str:
    """Check and normalise what a person typed: no control characters, no markup the model could take for its own.

    Raises:
        QueryError: empty, longer than ``MAX_QUERY_CHARS``, or with control characters.
    """
    text = query if isinstance(query, str) else ""
    if len(text) <= MAX_QUERY_CHARS:
        text = unicodedata.normalize("NFKC", re.sub(r"[\t\r\n]+", " ", text))
    if len(text) > MAX_QUERY_CHARS:  # as typed, or by what the normal form unfolds
        raise QueryError(
            f"the query has {len(text)} characters; at most {MAX_QUERY_CHARS} are read, shorten it"
        )
    control = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Co")), None)
    if control is not None:
        raise QueryError(f"the query holds a control character (U+{ord(control):04X}); remove it")
    text = re.sub(
        r"<(?=[|/a-zA-Z])", "‹", "".join(c for c in text if unicodedata.category(c) != "Cf")
    )
    text = re.sub(r"\s+", " ", text).strip()
    if not text:
        raise QueryError(
            'the query is empty; say what to find, for example "open water larger than 1 ha"'
        )
    return text


def user_message(query: str, prior: str, image_tokens: int = 0) -> str:
    """The user's turn as the model reads it: visual tokens, the prior text (may be empty), the query.

    Classes whose synonyms stand in the query follow it in order, so that a word added to ``classes.yaml`` is understood
    by a model that never read it.
    """
    named = ", ".join(mentioned_classes(query))
    parts = [
        IMAGE_TOKEN * image_tokens,
        prior and f"Evidence:\n{prior}",
        f"Query: {query}",
        named and f"Classes: {named}",
    ]
    return "\n".join(part for part in parts if part)


def asked(message: str) -> str:
    """The query in a user's turn that ``user_message`` wrote."""
    found = re.search("^Query: (.*)$", message, re.MULTILINE)
    return found[1] if found else ""


def format_span(class_name: str, phrase: str, constraints: Constraints | None = None) -> str:
    """Write a span; ``parse_answer`` reads it back unchanged."""
    given = (constraints or Constraints()).to_dict()
    order = [name for name in _ATTRIBUTES if name in given]
    attributes = "".join(f" {name}={given[name]}" for name in order)
    return f"<seg class={class_name}{attributes}>{phrase}</seg>"


def _area(text: str) -> tuple[float, str]:
    number, unit = re.fullmatch(rf"({_NUMBER})(\w+)", text).groups()  # type: ignore[union-attr]  # the span's pattern holds
    return float(number), unit


def _constraints(attributes: Mapping[str, str]) -> Constraints:
    conditions = []
    for part in attributes.get("index", "").split(","):
        if part:
            name, side, value = part.split(":")
            conditions.append(
                IndexCondition(name, "above" if side == "above" else "below", float(value))
            )
    return Constraints(
        min_area=_area(attributes["min_area"]) if "min_area" in attributes else None,
        max_area=_area(attributes["max_area"]) if "max_area" in attributes else None,
        where=attributes.get("where"),
        top=int(attributes["top"]) if "top" in attributes else None,
        index=tuple(conditions),
        exclude=tuple(name for name in attributes.get("not", "").split(",") if name),
    )


def parse_answer(text: str) -> Answer:
    """Read an answer's spans, slots and refusal.

    Raises:
        AnswerError: a tag that is not well formed, an unknown fact slot, or a slot without a span.
    """
    refusal = _REFUSAL.search(text)
    spans = []
    for match in _SPAN.finditer(text):
        attributes = dict(part.split("=", 1) for part in match[1][len("<seg ") : -1].split(" "))
        spans.append(
            Span(
                attributes["class"], match[2], _constraints(attributes), match.start(), match.end()
            )
        )
    rest = _SLOT.sub("", _SPAN.sub("", _REFUSAL.sub("", text)))
    stray = re.search(r"</?[a-z|][^\s]*", rest)
    if stray:
        raise AnswerError(f"malformed markup in the answer: {stray[0][:60]!r}")
    for slot in _SLOT.finditer(text):
        known = slot[1] in (INDEX_FACTS if slot[2] else FACTS)
        if not known or not spans or slot.start() < spans[0].start:
            raise AnswerError(
                f"fact slot {slot[0]!r} is {'without a span before it' if known else 'unknown'}"
            )
    return Answer(text, tuple(spans), refusal[1].strip() if refusal else None)


def fill(answer: Answer, fact: Callable[[int, str, str | None], str]) -> str:
    """The answer as a person reads it: no tags, every slot replaced by ``fact(span number, name, index name)``."""
    starts = [span.start for span in answer.spans]

    def value(match: re.Match[str]) -> str:
        owner = max((i for i, start in enumerate(starts) if start < match.start()), default=0)
        return fact(owner, match[1], match[2])

    # Slots first, on the raw text, so that their positions still tell which span owns them.
    filled = _SLOT.sub(value, answer.text)
    return _REFUSAL.sub(r"\1", _SPAN.sub(r"\2", filled)).strip()
