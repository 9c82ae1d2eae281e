"""Classes that an adapter added: the language model reads a class that it knows in their place.

An adapter leaves the language model as it is. The name of a new class is noise to it, and beside
noise it misreads constraints. How "larger than 1 ha" is read does not depend on the class.
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
from spex.query.prompt import Exchange

# Any model reads these well; what an answer says of them is mostly about location and size.
_CHOICE = ("water", "tree_cover", "building", "road", "bare", "cropland", "grassland", "burned")
_INDEX_SLOT = re.compile(rf"<fact:(?:{'|'.join(INDEX_FACTS)}):")


@dataclass(frozen=True)
class StandIns:
    """Known classes in the place of the added classes that a conversation names.

    Attributes:
        added_class: name of the added class by that of the known class in its place.
        wording: words of the last query for the added class, by the same key.
    """

    added_class: Mapping[str, str]
    wording: Mapping[str, str]

    @classmethod
    def of(cls, request: GenerationRequest) -> StandIns:
        """Choose known classes that the conversation does not name."""
        wording: dict[str, str] = {}
        for query in (*(exchange.query for exchange in request.history), request.query):
            wording |= class_phrases(query)
        unknown = [name for name in wording if name in added_classes()]
        free = [name for name in _CHOICE if name not in wording]
        pairs = dict(zip(free, unknown, strict=False))
        return cls(pairs, {known: wording[name] for known, name in pairs.items()})

    def replace_added(self, request: GenerationRequest) -> GenerationRequest:
        """The request in words that the language model knows."""
        if not self.added_class:
            return request
        history = tuple(
            Exchange(self._known_query(exchange.query), self._known_answer(exchange.answer))
            for exchange in request.history
        )
        return replace(request, query=self._known_query(request.query), history=history)

    def restore(self, text: str) -> str:
        """The answer about the added classes, in the words of the query.

        Clauses with an index of the known class are left out: they do not hold for the added one.
        """
        if not self.added_class:
            return text
        clauses = re.split(r"(?<=[.;])(?= )", text)
        text = "".join(part for part in clauses if "<seg" in part or not _INDEX_SLOT.search(part))
        for known, name in self.added_class.items():
            title = classes()[known].title
            wording = self.wording[known]
            text = re.sub(rf"((?:class|not)=(?:[a-z_]+,)*){known}\b", rf"\g<1>{name}", text)
            text = re.sub(rf"\b{title.capitalize()}\b", wording[:1].upper() + wording[1:], text)
            text = re.sub(rf"(?<![=,_])\b{title}\b(?![=,_])", wording, text)
        return text

    def _known_query(self, query: str) -> str:
        titles = {name: classes()[known].title for known, name in self.added_class.items()}
        for name, wording in class_phrases(query):
            if name in titles:
                query = query.replace(wording, titles[name], 1)
        return query

    def _known_answer(self, answer: str) -> str:
        for known, name in self.added_class.items():
            answer = re.sub(
                rf"((?:class|not)=(?:[a-z_]+,)*){name}\b([^<>]*>)[^<>]*<",
                rf"\g<1>{known}\g<2>{classes()[known].title}<",
                answer,
            )
        return answer
