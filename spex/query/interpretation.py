"""From the links of a request to what it asks for, with nothing of it lost.

Every constraint, relation, exclusion and class of the request is either part of a mask, or it is
returned as left over. A link that the network is not sure of is returned as a doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spex.query.changes import merged, reversed_change
from spex.query.constraints import Constraints, Distance
from spex.query.elements import CONSTRAINTS, Element
from spex.query.leftovers import POSSIBLE, is_vague, left_over
from spex.query.lexicon import fold
from spex.query.linking import Links
from spex.query.reading import Remark, RequestedMask, Understood
from spex.query.request import Request

USUAL_DISTANCE = 100.0
"""Metres of near and far where none are stated."""
_LIKELY = 0.5
_SIZES = ("min_area", "max_area")
_TARGET, _EXCLUDED, _REVERSED = range(3)
_OBJECT, _MODIFIES = range(2)


@dataclass
class Interpretation:
    """What a request asks for.

    Attributes:
        masks: one per class and set of constraints.
        ignored: words that could have mattered and are in no mask.
        remarks: assumptions.
        doubt: probability that some decision was wrong, 0-1.
        doubtful: words of the least certain decision.
    """

    masks: list[RequestedMask] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    doubt: float = 0.0
    doubtful: str = ""


class Interpreter:
    """Decides what a request asks for from its elements and their links."""

    def __init__(self, request: Request, links: Links) -> None:
        self.request = request
        self.links = links
        self.elements = request.elements
        self.mentions = request.numbers_of("mention")
        self.used: set[int] = set()
        self.result = Interpretation()
        self._sure = 1.0
        self._least = 1.0

    def interpret(self) -> Interpretation:
        """The masks, what is left over, and how sure the reading is."""
        excluded = self._chosen(_EXCLUDED, [n for n in self.mentions if self._is_stated(n)])
        targets = self._targets(excluded)
        objects = self._objects()
        self.used.update(*objects.values(), excluded, targets)
        modifiers = [*self.request.numbers_of(*CONSTRAINTS), *objects, *excluded]
        owners = {modifier: self._owners(modifier, targets) for modifier in modifiers}
        for target in targets:
            target_modifiers = [modifier for modifier in modifiers if target in owners[modifier]]
            target_modifiers = self._without_rivals(target_modifiers, target)
            self.used.update(target_modifiers)
            self._add(self._mask(target, target_modifiers, objects))
        self.result.ignored = left_over(self.request, self.links, self.used)
        self.result.doubt = 1 - self._sure
        return self.result

    # Roles and links ------------------------------------------------------------------------

    def _is_stated(self, number: int) -> bool:
        return self.elements[number].first >= 0

    def _role(self, number: int, role: int) -> float:
        return float(self.links.roles[number, role])

    def _link(self, modifier: int, mention: int, link: int) -> float:
        pair = self.links.links.get((modifier, mention))
        return 0.0 if pair is None else float(pair[link])

    def _count(self, probability: float, number: int) -> bool:
        """Whether something holds of an element; how sure that is adds to the doubt."""
        certainty = max(probability, 1 - probability)
        self._sure *= certainty
        if certainty < self._least and self._is_stated(number):
            self._least = certainty
            self.result.doubtful = self.request.words_of(self.elements[number])
        return probability > _LIKELY

    def _chosen(self, role: int, numbers: Sequence[int]) -> list[int]:
        """Mentions that have a role, one class for each place."""
        best: dict[int, int] = {}
        for number in numbers:
            if self._count(self._role(number, role), number):
                first_item = self.elements[number].first
                rival = best.get(first_item)
                if rival is None or self._role(number, role) > self._role(rival, role):
                    best[first_item] = number
        return list(best.values())

    def _targets(self, excluded: Sequence[int]) -> list[int]:
        targets = [n for n in self._chosen(_TARGET, self.mentions) if n not in excluded]
        if targets:
            stated = [number for number in targets if self._is_stated(number)]
            return stated if stated and len(stated) < len(targets) else targets
        objects = {
            number for relation_objects in self._objects().values() for number in relation_objects
        }
        candidates = [n for n in self.mentions if n not in excluded and n not in objects]
        return [max(candidates, key=lambda number: self._role(number, _TARGET))]

    def _objects(self) -> dict[int, list[int]]:
        """The classes that each relation refers to."""
        objects: dict[int, list[int]] = {}
        stated = [number for number in self.mentions if self._is_stated(number)]
        for relation in self.request.numbers_of("relation"):
            best: dict[int, int] = {}
            for mention in stated:
                probability = self._link(relation, mention, _OBJECT)
                first_item = self.elements[mention].first
                if self._count(probability, relation) and (
                    first_item not in best
                    or probability > self._link(relation, best[first_item], _OBJECT)
                ):
                    best[first_item] = mention
            if not best and stated:
                likeliest = max(stated, key=lambda m: self._link(relation, m, _OBJECT))
                if self._link(relation, likeliest, _OBJECT) > POSSIBLE:
                    best[0] = likeliest
            if not best:
                best = self._referred_to(relation)
            if best:
                objects[relation] = list(best.values())
        return objects

    def _referred_to(self, relation: int) -> dict[int, int]:
        """The mention that "it" behind a relation stands for: "water, and houses near it"."""
        last = self.elements[relation].last
        items = self.request.items[last + 1 : last + 4]
        if not any("this" in item for item in items):
            return {}
        before = [
            number
            for number in self.mentions
            if 0 <= self.elements[number].first < last and "alt" not in self.elements[number].flags
        ]
        return {0: before[-2]} if len(before) > 1 else {}

    def _owners(self, modifier: int, targets: Sequence[int]) -> list[int]:
        """The targets that a constraint, relation or exclusion belongs to."""
        candidates = [target for target in targets if target != modifier]
        owners = [
            t for t in candidates if self._count(self._link(modifier, t, _MODIFIES), modifier)
        ]
        if owners or not candidates or is_vague(self.elements[modifier]):
            return owners
        likeliest = max(candidates, key=lambda t: self._link(modifier, t, _MODIFIES))
        return [likeliest] if self._link(modifier, likeliest, _MODIFIES) > POSSIBLE else []

    def _without_rivals(self, modifiers: Sequence[int], target: int) -> list[int]:
        """Modifiers of a target in order; of two readings of the same words the likelier one."""
        likeliest: list[int] = []

        def rank(modifier: int) -> tuple[bool, float]:
            distant = "distant" in self.elements[modifier].flags
            return distant, -self._link(modifier, target, _MODIFIES)

        for modifier in sorted(modifiers, key=rank):
            if not any(self._are_rivals(modifier, chosen) for chosen in likeliest):
                likeliest.append(modifier)
        return sorted(likeliest)

    def _are_rivals(self, first: int, second: int) -> bool:
        element, rival = self.elements[first], self.elements[second]
        overlap = element.first <= rival.last and rival.first <= element.last
        is_pair = element.kind == "mention" or rival.kind == "mention"
        is_range = "range" in element.flags & rival.flags
        return overlap and not is_pair and not is_range

    # Masks ----------------------------------------------------------------------------------

    def _mask(
        self, target: int, modifiers: Sequence[int], objects: dict[int, list[int]]
    ) -> RequestedMask:
        element = self.elements[target]
        phrase = self.request.words_of(element)
        constraints = Constraints()
        understood = [Understood(f"class={element.value}", phrase)]
        self._remark_on_class(element, phrase)
        if element.detail is not None and element.detail.implies.exclude:
            constraints = replace(constraints, exclude=element.detail.implies.exclude)
            understood.append(Understood("not=" + ",".join(constraints.exclude), phrase))
        for modifier in modifiers:
            self._remark_on_modifier(self.elements[modifier], element)
            change = self._change(modifier, objects)
            constraints = merged(constraints, change)
            words = self.request.words_of(self.elements[modifier])
            stated = merged(Constraints(), change).to_dict()
            understood += [Understood(f"{name}={value}", words) for name, value in stated.items()]
        return RequestedMask(element.value, phrase, constraints, tuple(understood))

    def _change(self, modifier: int, objects: dict[int, list[int]]) -> dict[str, Any]:
        """Fields of ``Constraints`` that an element sets."""
        element = self.elements[modifier]
        turned = modifier in self._reversed
        if element.kind == "mention":
            return {"exclude": (element.value,)}
        if element.kind == "relation":
            side = element.detail
            if turned:
                side = "far" if side == "near" else "near"
            metres = element.value
            if metres is None:
                metres = USUAL_DISTANCE
                words = self.request.words_of(element)
                self._remark(Remark("distance", words, f"{metres:g}m"))
            names = [self.elements[number].value for number in objects[modifier]]
            return {side: tuple(Distance(name, metres) for name in names)}
        return reversed_change(element) if turned else {element.kind: element.value}

    @property
    def _reversed(self) -> set[int]:
        return {
            number
            for number in range(len(self.elements))
            if self._role(number, _REVERSED) > _LIKELY
        }

    def _remark_on_class(self, element: Element, phrase: str) -> None:
        term = element.detail
        if term is None:
            return
        if "typo" in element.flags:
            self._remark(Remark("typo", phrase, term.text))
        if term.is_nearest:
            self._remark(Remark("nearest", phrase, element.value))
        elif term.is_verb or term.is_phrase or term.ambiguous:
            self._remark(Remark("implied", phrase, element.value))

    def _remark_on_modifier(self, modifier: Element, target: Element) -> None:
        """Say how a bare size, a bare distance, and "the largest" of several were read."""
        words = self.request.words_of(modifier)
        if modifier.kind in _SIZES and "bare" in modifier.flags:
            stated = merged(Constraints(), {modifier.kind: modifier.value}).to_dict()
            ((name, value),) = stated.items()
            self._remark(Remark("implied_size", words, f"{name}={value}"))
        bare_distance = modifier.kind == "relation" and modifier.flags == {"bare"}
        one_of_several = "single" in modifier.flags and self._is_plural(target)
        if bare_distance or one_of_several:
            self._remark(Remark("doubt", words, ""))

    def _is_plural(self, mention: Element) -> bool:
        """Whether a class is named in another form than that of the lists, the singular."""
        if mention.detail is None or self.request.language == "zh":
            return False
        written = fold(self.request.words_of(mention)).text
        return len(written) > len(fold(mention.detail.text).text)

    def _remark(self, remark: Remark) -> None:
        if remark not in self.result.remarks:
            self.result.remarks.append(remark)

    def _add(self, mask: RequestedMask) -> None:
        """Add a mask; one of the same class with the same or fewer constraints becomes one."""
        for number, earlier in enumerate(self.result.masks):
            if earlier.class_name != mask.class_name:
                continue
            conditions = set(mask.constraints.to_dict().items())
            earlier_conditions = set(earlier.constraints.to_dict().items())
            if conditions <= earlier_conditions or earlier_conditions <= conditions:
                self.result.masks[number] = earlier if conditions <= earlier_conditions else mask
                return
        self.result.masks.append(mask)
