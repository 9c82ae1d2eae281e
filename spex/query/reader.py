"""Reads a request: from what a person wrote to what is to be extracted.

The reading depends on the words of the conversation alone, never on a scene.
"""

from __future__ import annotations

from collections.abc import Sequence

from spex.query.constraints import ANY
from spex.query.elements import Element
from spex.query.followups import follow_up
from spex.query.interpretation import Interpretation, Interpreter
from spex.query.language import language_of
from spex.query.lexicon import lexicon
from spex.query.linking import INTENTS, Links, linker
from spex.query.prompt import Exchange
from spex.query.reading import LANGUAGES, Reading, Remark
from spex.query.request import Request, request_of

_ASKS = ("why", "count", "share", "sure")
_REPLIES = ("help", "thanks", "bye", "greeting")
_GREETING = 4  # items at most
_DOUBTFUL = 0.2
"""A reading that is more likely wrong than this says so."""


def read_request(query: str, history: Sequence[Exchange] = ()) -> Reading:
    """What a request asks for.

    Args:
        query: as ``clean_query`` returns it.
        history: the exchanges before, which the request may refer to.
    """
    usual = language_of(history[-1].query) if history else "en"
    language = language_of(query, usual)
    request = request_of(query, language)
    reply = _reply(request)
    if reply in (None, "nonsense"):
        for other in _other_languages(request):
            foreign = _reply(request_of(query, other))
            if foreign and foreign != "nonsense":
                return Reading(other, reply=foreign)
    if reply:
        return Reading(language, reply=reply)
    links = linker()(request)
    asks = frozenset(kind for kind in _ASKS if any(kind in item for item in request.items))
    interpretation = Interpreter(request, links).interpret()
    followed = follow_up(request, interpretation, history)
    if followed is not None:
        return _reading(request, followed, asks)
    ordinal = _ordinal(request)
    if ordinal is not None and not _takes_several(interpretation):
        return Reading(request.language, refusal=("ordinal", request.words_of(ordinal)))
    intent = INTENTS[int(links.intent.argmax())]
    if intent == "none" and _asks_of_class(request, interpretation, asks):
        return _reading(request, interpretation, asks)
    if intent == "none":
        return Reading(request.language, refusal=_refusal(request))
    if intent == "whole_scene":
        return Reading(request.language, whole_scene=True)
    impossible = _impossible(request, interpretation)
    if impossible:
        return Reading(request.language, refusal=("unsupported_constraint", impossible))
    if not _names_something(interpretation):
        return Reading(request.language, refusal=_refusal(request))
    return _reading(request, interpretation, asks, links)


def _reading(
    request: Request,
    interpretation: Interpretation,
    asks: frozenset[str],
    links: Links | None = None,
) -> Reading:
    remarks = list(interpretation.remarks)
    doubt = interpretation.doubt
    if links is not None:
        doubt = 1 - (1 - doubt) * float(links.intent.max())
    if doubt > _DOUBTFUL:
        remarks.append(Remark("doubt", interpretation.doubtful or request.text, ""))
    if not interpretation.masks:
        return Reading(request.language, refusal=("nothing_left", request.text))
    return Reading(
        request.language,
        masks=tuple(interpretation.masks),
        ignored=tuple(interpretation.ignored),
        remarks=tuple(remarks),
        asks=asks,
    )


def _impossible(request: Request, interpretation: Interpretation) -> str:
    """Words of a condition that cannot be carried out and that changes what is asked."""
    for element in request.elements:
        if "relative" in element.flags:
            last = min(element.last + 3, len(request.items) - 1)
            return request.text[request.items[element.first].start : request.items[last].end]
    for mask in interpretation.masks:
        low, high = mask.constraints.min_area, mask.constraints.max_area
        sizes = [part for part in mask.understood if part.what.startswith(("min_", "max_"))]
        negative = any(area and area[0] < 0 for area in (low, high))
        crossed = low and high and low[1] == high[1] and low[0] > high[0]
        if negative or crossed:
            return " / ".join(part.words for part in sizes)
    return ""


def _ordinal(request: Request) -> Element | None:
    """The words that pick one region by its rank, such as "second largest"."""
    for element in request.elements:
        if element.kind == "ordinal" or "ordinal" in element.flags:
            return element
    return None


def _takes_several(interpretation: Interpretation) -> bool:
    """Whether "the largest and the second largest" was read as the two largest."""
    return any((mask.constraints.top or 1) > 1 for mask in interpretation.masks)


def _asks_of_class(request: Request, interpretation: Interpretation, asks: frozenset[str]) -> bool:
    """Whether "how many" or "why" asks about a class that was named, and of nothing else."""
    named = any(mask.phrase and mask.class_name != ANY for mask in interpretation.masks)
    other = any(item.any_of("thing", "change", "measure", "topic") for item in request.items)
    return named and bool(asks) and not other


def _names_something(interpretation: Interpretation) -> bool:
    """Whether any word or constraint says what to extract; a place alone does not."""
    return any(
        mask.phrase or mask.class_name != ANY or set(mask.constraints.to_dict()) - {"where"}
        for mask in interpretation.masks
    )


def _other_languages(request: Request) -> list[str]:
    """Languages that a short request without any element may be a greeting of."""
    if len(request.items) > _GREETING or request.elements[:-1]:
        return []
    return [language for language in LANGUAGES if language != request.language]


def _reply(request: Request) -> str | None:
    """The reply to what asks for nothing: greetings, thanks, help, words that are none."""
    common = lexicon(request.language).common
    kinds = set[str]()
    unknown = 0
    for item in request.items:
        if item.any_of("comma", "stop", "bracket"):
            continue
        reply_kind = next((kind for kind in _REPLIES if kind in item), None)
        if reply_kind is not None:
            kinds.add(reply_kind)
        elif "word" in item:
            unknown += item.text not in common
        elif not item.any_of("filler", "this", "from_words", "and", "aside"):
            return None
    if kinds and not unknown:
        return next(kind for kind in _REPLIES if kind in kinds)
    if not kinds and unknown == sum("word" in item for item in request.items):
        return "nonsense"
    return None


def _refusal(request: Request) -> tuple[str, str]:
    """Why nothing is extracted: the reason and the words that are it."""
    reasons = (("change", "change"), ("measure", "not_visible"), ("topic", "other_topic"))
    for kind, key in reasons:
        words = next((item for item in request.items if kind in item), None)
        if words is not None:
            return key, request.text[words.start : words.end]
    for element in request.elements:
        if element.kind == "thing":
            return "unknown_thing", request.words_of(element)
    return "unclear", request.text
