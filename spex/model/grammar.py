"""Constrained decoding: spans and fact slots stay well-formed, and no number is made up, whatever the model prefers.

Inside a tag only tokens that keep a prefix of the grammar are allowed; a number, inside a tag or in the sentence, must
stand in one of the conversation's queries (or be a number word of it); what a span holds is the person's own words or
the class's title; characters of several bytes are finished before anything else is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import regex
import torch
from torch import Tensor
from transformers import LogitsProcessor
from transformers.convert_slow_tokenizer import bytes_to_unicode

from spex.evidence.classes import classes, mentioned, named
from spex.evidence.indices import OFFERED_INDICES
from spex.prompts import FACTS, INDEX_FACTS, SPAN_OPEN, Exchange, parse_answer

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
_NUMBER = regex.compile(r"\d+(?:\.\d+)?")
_PHRASE = regex.compile(r"<seg class=([a-z_]+)[^<>]*>([^<>]*)(<)?")
_UNFINISHED = "\ufffd"  # how a character reads while bytes of it are missing
_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}


def _pending(tokens: Sequence[str]) -> bytes:
    """The first bytes of a character that the last tokens leave unfinished; empty where no character begins so.

    Tokens are those of a byte-level vocabulary, or of one that falls back to bytes (``<0xE6>``).
    """
    raw = b""
    for token in tokens[-3:]:
        fallback = regex.fullmatch(r"<0x([0-9A-F]{2})>", token)
        raw += bytes([int(fallback[1], 16)] if fallback else [_BYTES.get(c, 0) for c in token])
    for size in range(1, 4):
        lead = raw[-size] if len(raw) >= size else 0
        if lead >= 0xC0:
            return raw[-size:] if size < 2 + (lead >= 0xE0) + (lead >= 0xF0) and lead < 0xF8 else b""
        if lead < 0x80:
            break
    return b""


def numbers_of(query: str) -> set[str]:
    """Numbers a query states, in digits or words, as the answer may repeat them."""
    text = regex.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", query.lower())
    text = regex.sub(r"(?<=\d),(?=\d)", ".", text)  # a decimal comma
    found = {f"{float(n):g}" if float(n) < 1e6 else n for n in _NUMBER.findall(text)} | set(_NUMBER.findall(text))
    found |= {_WORDS[word] for word in regex.findall(r"\p{Latin}+|\p{Han}", text) if word in _WORDS}
    return found | {"1"}


class SpanGrammar(LogitsProcessor):
    """A logits processor for greedy decoding of one answer.

    Args:
        tokenizer: of the language model.
        query: the person's query.
        indices: spectral indices the scene can give; a sentence names no other.
        history: the exchanges before; their classes and numbers may come again.
    """

    def __init__(
        self,
        tokenizer: Any,
        query: str,
        indices: Iterable[str] = OFFERED_INDICES,
        history: Sequence[Exchange] = (),
    ) -> None:
        self.tokenizer = tokenizer
        spans = [parse_answer(one.answer).spans for one in history]
        earlier = [
            Counter(name for span in own for name in (span.class_name, *span.constraints.exclude)) for own in spans
        ]
        self.named = list(dict.fromkeys([*mentioned(query), *(name for counts in earlier for name in counts)]))
        # A follow-up has a span per class, unless an answer before it had more; a class may be dropped.
        self.most = reduce(or_, earlier, Counter(self.named)) if history else Counter[str]()
        missing = "|".join(set(OFFERED_INDICES) - set(indices))
        self.missing = regex.compile(rf"\b(?:{missing})\b") if missing else None
        queries = [query, *(one.query for one in history)]
        self.phrases: dict[str, list[str]] = {name: [about.title] for name, about in classes().items()}
        for name, words in (pair for text in queries for pair in named(text)):
            self.phrases[name] += [words, words.lower()]
        self.numbers = numbers_of(" ".join(queries))
        names = "|".join(sorted(classes(), key=len, reverse=True))
        opening = SPAN_OPEN.replace(r"class=[a-z_]+", f"class=(?:{names})")
        opening = opening.replace(r"not=(?:[a-z_]+(?:,[a-z_]+)*)", f"not=(?:{names})(?:,(?:{names}))*")
        slots = "|".join([*FACTS, *(f"{name}:[A-Za-z0-9]+" for name in INDEX_FACTS)])
        # A whole answer: sentences, spans and slots; or one refusal.
        text = r"[^<>]*"
        part = rf"{opening}[^<>0-9]{{1,80}}</seg>|<fact:(?:{slots})>"
        self.pattern = regex.compile(rf"(?:<refuse>{text}</refuse>|{text}(?:(?:{part}){text})*)")

    def allowed(self, text: str, done: bool, pending: bytes = b"") -> bool:
        """Whether an answer may begin with ``text`` (or be it, when done).

        ``pending`` are the bytes of the character that is not finished yet, where ``text`` ends in one.
        """
        whole = text.removesuffix(_UNFINISHED)
        if _UNFINISHED in (whole if pending and not done else text):
            return False
        if not self.pattern.fullmatch(text, partial=not done):
            return False
        for match in _PHRASE.finditer(whole):
            unfinished = pending if match.end() == len(whole) else b""
            if not self._own(match[1], match[2], unfinished, closed=bool(match[3])):
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
                if not any(number.startswith(rest) or number == match[0] for number in self.numbers):
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
        used = Counter[str]()
        for match in _NAMES.finditer(text):
            attribute, name, ended = match.groups()
            open_to = set(self.named)
            if attribute == "class":
                left = {name for name in open_to if used[name] < max(1, self.most[name])}
                open_to = left if self.most else left or open_to
            if not (name in open_to if ended else any(choice.startswith(name) for choice in open_to)):
                return False
            if attribute == "class" or not self.most:  # a class taken away need not be asked for as well
                used[name] += 1
        return True

    def _repeats(self, text: str) -> bool:
        """Whether a follow-up opens more spans than it may have."""
        return bool(self.most) and text.count("<seg") > self.most.total()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Keep the best token that stays within the grammar."""
        for row, ids in enumerate(input_ids.tolist()):
            before = self._decode(ids)
            # All tokens, in case only an unlikely one fits: ending inside a tag would leave an answer nobody can read.
            for token in scores[row].argsort(descending=True).tolist():
                done = token == self.tokenizer.eos_token_id
                text = before if done else self._decode([*ids, token])
                if self._repeats(text) and self.allowed(before, done=True):
                    token = self.tokenizer.eos_token_id  # all is said; another way on would be far from likely
                    break
                grown = len(text) > len(before) or before.endswith(_UNFINISHED)
                pending = b""
                if text.endswith(_UNFINISHED) and not done:
                    pending = _pending(self.tokenizer.convert_ids_to_tokens([*ids[-2:], token]))
                if (done or grown) and self.allowed(text, done, pending):
                    break
            else:
                token = self.tokenizer.eos_token_id
            keep = torch.full_like(scores[row], -torch.inf)
            keep[token] = 0
            scores[row] = keep
        return scores

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
