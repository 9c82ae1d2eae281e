"""Constrained decoding: spans and slots stay well formed and no number is invented, in any model.

Inside a tag only tokens that keep a prefix of the grammar are allowed. A number, inside a tag or in
a sentence, must stand in one of the conversation's queries, in digits or as a word. A span contains
the person's own words or the title of its class. Beside a span, the side of its threshold is named
as in the span. Characters of several bytes are finished before anything else is written. The
grammar is one of bytes, so it holds for any tokenizer.
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

_NUMBER_WORDS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
    "half": "0.5", "quarter": "0.25", "a": "1", "an": "1", "the": "1", "zero": "0", "dozen": "12",
}  # fmt: skip
_FROM_TWO_ON = (
    "dos tres cuatro cinco seis siete ocho nueve diez",
    "deux trois quatre cinq six sept huit neuf dix",
    "zwei drei vier fünf sechs sieben acht neun zehn",
    "dois três quatro cinco seis sete oito nove dez",
    "duas 三 四 五 六 七 八 九 十",
    "两",
)
for _language in _FROM_TWO_ON:
    _NUMBER_WORDS |= {word: str(number) for number, word in enumerate(_language.split(), 2)}
_CLASS_NAME = regex.compile(r"(?:(class)=|not=|(?<=not=[a-z_,]*),)([a-z_]*)([ ,>])?")
_NUMBER = regex.compile(PLAIN_NUMBER)
_PHRASE = regex.compile(r"<seg class=([a-z_]+)[^<>]*>([^<>]*)(<)?")
_SIDE = regex.compile(r"[=,](\w+):(above|below):[^<>]*>[^<]*</seg>[^<]*?\b\1 (ab|be)")
_LIKELY = 64  # tokens tried before all of them are sorted


def numbers_of(query: str) -> set[str]:
    """Numbers that a query states, in digits or words, as the answer may repeat them."""
    text = regex.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", query.lower())
    text = regex.sub(r"(?<=\d),(?=\d)", ".", text)  # a decimal comma
    numbers = {"1"}
    for number in _NUMBER.findall(text):
        numbers.add(number)
        if float(number) < 1e6:
            numbers.add(f"{float(number):g}")
    for word in regex.findall(r"\p{Latin}+|\p{Han}", text):
        if word in _NUMBER_WORDS:
            numbers.add(_NUMBER_WORDS[word])
    return numbers


class SpanGrammar:
    """What one answer may say.

    Args:
        query: the person's query.
        indices: spectral indices that the scene's bands allow; a sentence names no other.
        history: the exchanges before; their classes and numbers may come again.
    """

    def __init__(
        self, query: str, indices: Iterable[str] = OFFERED_INDICES, history: Sequence[Exchange] = ()
    ) -> None:
        earlier = [_class_counts(exchange.answer) for exchange in history]
        queries = [query, *(exchange.query for exchange in history)]
        class_names = mentioned_classes(query)
        for counts in earlier:
            class_names += counts
        self.named = list(dict.fromkeys(class_names))
        # A follow-up has a span per class, unless an answer before it had more.
        self.most = reduce(or_, earlier, Counter(self.named)) if history else Counter[str]()
        self.numbers = numbers_of(" ".join(queries))
        self.phrases = _phrases(queries)
        missing = "|".join(set(OFFERED_INDICES) - set(indices))
        self.missing = regex.compile(rf"\b(?:{missing})\b") if missing else None
        self.pattern = _answer_pattern()

    def allowed(self, text: str, done: bool, pending: bytes = b"") -> bool:
        """Whether an answer may begin with a text.

        Args:
            text: the beginning of the answer.
            done: whether the text is the whole answer.
            pending: first bytes of the character after ``text``, where it is not finished yet.
        """
        if pending and done:
            return False
        return (
            bool(self.pattern.fullmatch(text + "\ufffd" * bool(pending), partial=not done))
            and self._phrases_fit(text, pending)
            and _sides_agree(text)
            and not self._names_missing_index(text)
            and not (self.named and not self._names_requested_classes(text))
            and self._numbers_stated(text, done)
        )

    def _phrases_fit(self, text: str, pending: bytes) -> bool:
        """Whether every span contains the person's words for the class, or its title."""
        for match in _PHRASE.finditer(text):
            unfinished = pending if match.end() == len(text) else b""
            if not self._phrase_fits(match[1], match[2], unfinished, closed=bool(match[3])):
                return False
        return True

    def _phrase_fits(self, name: str, phrase: str, pending: bytes, *, closed: bool) -> bool:
        """Whether a phrase of the class begins so, or, when closed, is this one."""
        if closed:
            return phrase in self.phrases[name] and not pending
        for words in self.phrases[name]:
            following = words[len(phrase) :][:1].encode()
            if words.startswith(phrase) and following.startswith(pending):
                return True
        return False

    def _names_missing_index(self, text: str) -> bool:
        """Whether a sentence names an index that the scene's bands do not allow."""
        if self.missing is None:
            return False
        return bool(self.missing.search(regex.sub(r"<seg [^<>]*>?", "", text)))

    def _names_requested_classes(self, text: str) -> bool:
        """Whether spans are of the classes that the query names, each once before any repeats."""
        if self._repeats(text):
            return False
        used = Counter[str]()
        span_class = ""
        for match in _CLASS_NAME.finditer(text):
            attribute, name, ended = match.groups()
            is_span = attribute == "class"
            choices = set(self.named)
            if is_span:
                span_class = name
                unused = {choice for choice in choices if used[choice] < max(1, self.most[choice])}
                choices = unused if self.most else unused or choices
            else:
                choices.discard(span_class)
            if ended and name not in choices:
                return False
            if not any(choice.startswith(name) for choice in choices):
                return False
            if is_span or not self.most:  # an excluded class need not be asked for as well
                used[name] += 1
        return True

    def _repeats(self, text: str) -> bool:
        """Whether a follow-up opens more spans than it may have."""
        return bool(self.most) and text.count("<seg") > self.most.total()

    def _numbers_stated(self, text: str, done: bool) -> bool:
        """Whether every number is one of the queries, or may still become one."""
        plain = regex.sub(r"<fact:[^<>]*>|<fact:[^<>]*$", "", text)
        for match in _NUMBER.finditer(plain):
            before = plain[max(0, match.start() - 1) : match.start()]
            if before.isalpha():  # a name such as S2
                continue
            tail = plain[match.start() :]
            if not done and tail in (match[0], f"{match[0]}."):  # still being written
                if match[0] not in self.numbers and not self._begins_number(tail):
                    return False
            elif match[0] not in self.numbers:
                return False
        return True

    def _begins_number(self, text: str) -> bool:
        return any(number.startswith(text) for number in self.numbers)

    def choose(self, written: bytes, scores: Tensor, vocabulary: Vocabulary) -> int:
        """The best token to append; the end where nothing else is allowed.

        Args:
            written: the answer so far.
            scores: of every token (V,).
            vocabulary: of the language model.
        """
        text, begun = _characters(written) or ("", b"")
        for token in _ranked(scores):
            if token == vocabulary.end:
                if self.allowed(text, True, begun):
                    break
            elif piece := vocabulary.piece(token):
                longer = _characters(written + piece)
                if longer is None:
                    continue
                if self._repeats(longer[0]) and self.allowed(text, True, begun):
                    break  # all is said; another continuation would be far from likely
                if self.allowed(longer[0], False, longer[1]):
                    return token
        return vocabulary.end


def _class_counts(answer: str) -> Counter[str]:
    """How often an answer names each class, in spans and exclusions."""
    counts = Counter[str]()
    for span in parse_answer(answer).spans:
        counts.update((span.class_name, *span.constraints.exclude))
    return counts


def _phrases(queries: Sequence[str]) -> dict[str, list[str]]:
    """What a span of each class may contain: its title, and the words of the queries."""
    phrases = {name: [land_class.title] for name, land_class in classes().items()}
    for query in queries:
        for name, words in class_phrases(query):
            phrases[name] += [words, words.lower()]
    return phrases


def _answer_pattern() -> regex.Pattern[str]:
    """Pattern of a whole answer: sentences, spans and slots, or one refusal."""
    names = "|".join(sorted(classes(), key=len, reverse=True))
    opening = SPAN_OPEN.replace(r"class=[a-z_]+", f"class=(?:{names})")
    opening = opening.replace(r"not=(?:[a-z_]+(?:,[a-z_]+)*)", f"not=(?:{names})(?:,(?:{names}))*")
    slots = "|".join([*FACTS, *(f"{name}:[A-Za-z0-9]+" for name in INDEX_FACTS)])
    text = r"[^<>]*"
    part = rf"{opening}[^<>0-9]{{1,80}}</seg>|<fact:(?:{slots})>"
    return regex.compile(rf"(?:<refuse>{text}</refuse>|{text}(?:(?:{part}){text})*)")


def _sides_agree(text: str) -> bool:
    """Whether sentences name the side of a threshold as the span before them has it."""
    matches = _SIDE.finditer(text, overlapped=True)
    return all(match[2].startswith(match[3]) for match in matches)


def _ranked(scores: Tensor) -> Iterator[int]:
    """All tokens, best first.

    All of them, since only an unlikely one may fit, and an answer that ends inside a tag cannot be
    read.
    """
    yield from scores.topk(min(_LIKELY, len(scores))).indices.tolist()
    yield from scores.argsort(descending=True).tolist()


def _characters(written: bytes) -> tuple[str, bytes] | None:
    """The text and the first bytes of its next character; None if no text begins so."""
    try:
        return written.decode(), b""
    except UnicodeDecodeError as error:
        if error.end == len(written) and error.reason == "unexpected end of data":
            return written[: error.start].decode(), written[error.start :]
        return None
