"""Constrained decoding: spans and fact slots stay well-formed, and no number is made up, whatever the model prefers.

Inside a tag only tokens that keep a prefix of the grammar are allowed; a number, inside a tag or in the sentence, must
stand in one of the conversation's queries (or be a number word of it); what a span holds is the person's own words or
the class's title; beside a span the side of its threshold is told as the span has it; characters of several bytes are
finished before anything else is written. The grammar is one of bytes, so it holds for any tokenizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_

import regex
from torch import Tensor

from spex.evidence.class_words import class_phrases, mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES
from spex.model.language_model import Vocabulary
from spex.query.answer_markup import FACTS, INDEX_FACTS, SPAN_OPEN, parse_answer
from spex.query.numbers import PLAIN_NUMBER
from spex.query.prompt import Exchange

_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
          "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
          "half": "0.5", "quarter": "0.25", "a": "1", "an": "1", "the": "1", "zero": "0", "dozen": "12"}  # fmt: skip
_WORDS |= {
    word: str(number)
    for words in (
        "dos tres cuatro cinco seis siete ocho nueve diez",
        "deux trois quatre cinq six sept huit neuf dix",
        "zwei drei vier fünf sechs sieben acht neun zehn",
        "dois três quatro cinco seis sete oito nove dez",
        "duas 三 四 五 六 七 八 九 十",
        "两",
    )
    for number, word in enumerate(words.split(), 2)
}
_NAMES = regex.compile(r"(?:(class)=|not=|(?<=not=[a-z_,]*),)([a-z_]*)([ ,>])?")
_NUMBER = regex.compile(PLAIN_NUMBER)
_PHRASE = regex.compile(r"<seg class=([a-z_]+)[^<>]*>([^<>]*)(<)?")
_SIDE = regex.compile(r"[=,](\w+):(above|below):[^<>]*>[^<]*</seg>[^<]*?\b\1 (ab|be)")
_LIKELY = 64  # tokens looked at before all of them are sorted


def numbers_of(query: str) -> set[str]:
    """Numbers a query states, in digits or words, as the answer may repeat them."""
    text = regex.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", query.lower())
    text = regex.sub(r"(?<=\d),(?=\d)", ".", text)  # a decimal comma
    found = {f"{float(n):g}" if float(n) < 1e6 else n for n in _NUMBER.findall(text)} | set(
        _NUMBER.findall(text)
    )
    found |= {_WORDS[word] for word in regex.findall(r"\p{Latin}+|\p{Han}", text) if word in _WORDS}
    return found | {"1"}


class SpanGrammar:
    """What one answer may say.

    Args:
        query: the person's query.
        indices: spectral indices the scene can give; a sentence names no other.
        history: the exchanges before; their classes and numbers may come again.
    """

    def __init__(
        self, query: str, indices: Iterable[str] = OFFERED_INDICES, history: Sequence[Exchange] = ()
    ) -> None:
        spans = [parse_answer(one.answer).spans for one in history]
        earlier = [
            Counter(name for span in own for name in (span.class_name, *span.constraints.exclude))
            for own in spans
        ]
        self.named = list(
            dict.fromkeys(
                [*mentioned_classes(query), *(name for counts in earlier for name in counts)]
            )
        )
        # A follow-up has a span per class, unless an answer before it had more; a class may be dropped.
        self.most = reduce(or_, earlier, Counter(self.named)) if history else Counter[str]()
        missing = "|".join(set(OFFERED_INDICES) - set(indices))
        self.missing = regex.compile(rf"\b(?:{missing})\b") if missing else None
        queries = [query, *(one.query for one in history)]
        self.phrases: dict[str, list[str]] = {
            name: [about.title] for name, about in classes().items()
        }
        for name, words in (pair for text in queries for pair in class_phrases(text)):
            self.phrases[name] += [words, words.lower()]
        self.numbers = numbers_of(" ".join(queries))
        names = "|".join(sorted(classes(), key=len, reverse=True))
        opening = SPAN_OPEN.replace(r"class=[a-z_]+", f"class=(?:{names})")
        opening = opening.replace(
            r"not=(?:[a-z_]+(?:,[a-z_]+)*)", f"not=(?:{names})(?:,(?:{names}))*"
        )
        slots = "|".join([*FACTS, *(f"{name}:[A-Za-z0-9]+" for name in INDEX_FACTS)])
        # A whole answer: sentences, spans and slots; or one refusal.
        text = r"[^<>]*"
        part = rf"{opening}[^<>0-9]{{1,80}}</seg>|<fact:(?:{slots})>"
        self.pattern = regex.compile(rf"(?:<refuse>{text}</refuse>|{text}(?:(?:{part}){text})*)")

    def allowed(self, text: str, done: bool, pending: bytes = b"") -> bool:
        """Whether an answer may begin with ``text`` (or be it, when done).

        ``pending`` are the first bytes of the character that follows ``text``, where it is not finished yet.
        """
        if pending and done:
            return False
        if not self.pattern.fullmatch(text + "\ufffd" * bool(pending), partial=not done):
            return False
        for match in _PHRASE.finditer(text):
            unfinished = pending if match.end() == len(text) else b""
            if not self._own(match[1], match[2], unfinished, closed=bool(match[3])):
                return False
        if any(
            not match[2].startswith(match[3]) for match in _SIDE.finditer(text, overlapped=True)
        ):
            return False
        if self.missing and self.missing.search(regex.sub(r"<seg [^<>]*>?", "", text)):
            return False
        if self.named and not self._names_what_was_asked(text):
            return False
        plain = regex.sub(r"<fact:[^<>]*>|<fact:[^<>]*$", "", text)
        for match in _NUMBER.finditer(plain):
            before = plain[max(0, match.start() - 1) : match.start()]
            if before.isalpha():  # a name such as S2
                continue
            rest = plain[match.start() :]
            if not done and rest in (match[0], f"{match[0]}."):  # still being written
                if not any(
                    number.startswith(rest) or number == match[0] for number in self.numbers
                ):
                    return False
            elif match[0] not in self.numbers:
                return False
        return True

    def _own(self, name: str, phrase: str, pending: bytes, *, closed: bool) -> bool:
        """Whether a phrase may begin so (or be it, when closed): the person's words for the class, or its title."""
        return any(
            text.startswith(phrase) and text[len(phrase) :][:1].encode().startswith(pending)
            for text in self.phrases[name]
            if not closed or text == phrase
        )

    def _names_what_was_asked(self, text: str) -> bool:
        """Where the query holds synonyms of classes, spans are of these, each once before any comes again."""
        if self._repeats(text):
            return False
        used, own = Counter[str](), ""
        for match in _NAMES.finditer(text):
            attribute, name, ended = match.groups()
            own = name if attribute == "class" else own
            open_to = set(self.named) if attribute == "class" else set(self.named) - {own}
            if attribute == "class":
                left = {name for name in open_to if used[name] < max(1, self.most[name])}
                open_to = left if self.most else left or open_to
            if not (
                name in open_to if ended else any(choice.startswith(name) for choice in open_to)
            ):
                return False
            if (
                attribute == "class" or not self.most
            ):  # a class taken away need not be asked for as well
                used[name] += 1
        return True

    def _repeats(self, text: str) -> bool:
        """Whether a follow-up opens more spans than it may have."""
        return bool(self.most) and text.count("<seg") > self.most.total()

    def choose(self, written: bytes, scores: Tensor, words: Vocabulary) -> int:
        """The best token by ``scores`` (V,) to go on with after ``written``; the end where nothing else is allowed."""
        before, begun = _characters(written) or ("", b"")
        for token in _ranked(scores):
            if token == words.end:
                if self.allowed(before, True, begun):
                    break
            elif piece := words.piece(token):
                found = _characters(written + piece)
                if found and self._repeats(found[0]) and self.allowed(before, True, begun):
                    break  # all is said; another way on would be far from likely
                if found and self.allowed(found[0], False, found[1]):
                    return token
        return words.end


def _ranked(scores: Tensor) -> Iterator[int]:
    """All tokens, best first: only an unlikely one may fit, and an answer that ends inside a tag cannot be read."""
    yield from scores.topk(min(_LIKELY, len(scores))).indices.tolist()
    yield from scores.argsort(descending=True).tolist()


def _characters(written: bytes) -> tuple[str, bytes] | None:
    """The text and what has begun of its next character; None if no text begins so."""
    try:
        return written.decode(), b""
    except UnicodeDecodeError as error:
        if error.end == len(written) and error.reason == "unexpected end of data":
            return written[: error.start].decode(), written[error.start :]
        return None
