"""Classes that the language model never read of: it reads the query with a class that it knows in their place.

An adapter leaves the language model as it is, so to it the name of a new class is noise, beside which constraints are
misread. Which class a span is of makes no difference to how "larger than 1 ha" is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from spex.evidence.class_additions import added_classes
from spex.evidence.class_words import class_phrases
from spex.evidence.classes import classes
from spex.model.generation import GenerationRequest
from spex.query.answer_markup import INDEX_FACTS

# Well read by any model; what an answer says of them is mostly about place and size.
_CHOICE = ("water", "tree_cover", "building", "road", "bare", "cropland", "grassland", "burned")
_OF_INDEX = re.compile(rf"<fact:(?:{'|'.join(INDEX_FACTS)}):")


@dataclass(frozen=True)
class StandIns:
    """Added classes that a conversation names, by the known class in the place of each.

    Attributes:
        names: the added class by the known one. words: as the last query has them, by the known class.
    """

    names: Mapping[str, str]
    words: Mapping[str, str]

    @classmethod
    def of(cls, request: GenerationRequest) -> StandIns:
        """Known classes that the conversation does not name, for those of it that were added."""
        found = [
            pair
            for text in (*(one.query for one in request.history), request.query)
            for pair in class_phrases(text)
        ]
        unknown = dict(pair for pair in found if pair[0] in added_classes())
        free = [name for name in _CHOICE if name not in dict(found)]
        pairs = list(zip(free, unknown, strict=False))
        return cls(dict(pairs), {known: unknown[name] for known, name in pairs})

    def asked(self, request: GenerationRequest) -> GenerationRequest:
        """The request in words that the language model knows."""
        if not self.names:
            return request
        history = tuple(
            replace(one, query=self._query(one.query), answer=self._given(one.answer))
            for one in request.history
        )
        return replace(request, query=self._query(request.query), history=history)

    def answered(self, text: str) -> str:
        """The answer in the person's own words; what it says of the indices of a class that stood in is left out."""
        if not self.names:
            return text
        kept = [
            part
            for part in re.split(r"(?<=[.;])(?= )", text)
            if "<seg" in part or not _OF_INDEX.search(part)
        ]
        text = "".join(kept)
        for known, name in self.names.items():
            text = re.sub(rf"((?:class|not)=(?:[a-z_]+,)*){known}\b", rf"\g<1>{name}", text)
            title, words = classes()[known].title, self.words[known]
            text = re.sub(rf"\b{title.capitalize()}\b", words[:1].upper() + words[1:], text)
            text = re.sub(rf"(?<![=,_])\b{title}\b(?![=,_])", words, text)
        return text

    def _query(self, query: str) -> str:
        known = {name: classes()[one].title for one, name in self.names.items()}
        for name, words in class_phrases(query):
            if name in known:
                query = query.replace(words, known[name], 1)
        return query

    def _given(self, answer: str) -> str:
        for known, name in self.names.items():
            answer = re.sub(
                rf"((?:class|not)=(?:[a-z_]+,)*){name}\b([^<>]*>)[^<>]*<",
                rf"\g<1>{known}\g<2>{classes()[known].title}<",
                answer,
            )
        return answer
