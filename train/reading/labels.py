"""What the network is to decide on a request, from the reading that a person wrote.

A reading says which masks are asked for, not which words ask for them. So a label is a set of
decisions of which at least one must hold (the class is a target at one of the places that name
it), or a decision that must not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from spex.query.linking import LINKS, ROLES
from spex.query.request import MODIFIERS, Request, linked_pairs
from train.reading.expected import Fact, Spans, facts_of_element, holds

_OTHER_SIDE = {"near": "far", "far": "near"}


class Decision(NamedTuple):
    """A decision of the network.

    Attributes:
        kind: of ``ROLES`` or ``LINKS``.
        element: that the role is of, or the modifier of the link.
        mention: that a link leads to; -1 for a role.
    """

    kind: str
    element: int
    mention: int = -1


@dataclass
class Labels:
    """Decisions of one request.

    Attributes:
        any_of: of each entry at least one decision must hold.
        none_of: decisions that must not hold.
    """

    any_of: list[list[Decision]] = field(default_factory=list)
    none_of: list[Decision] = field(default_factory=list)

    def add(self, decisions: list[Decision], *, hold: bool) -> None:
        """Add decisions of which one holds, or of which none does."""
        if not hold:
            self.none_of += decisions
        elif decisions:
            self.any_of.append(decisions)


def labels_of(request: Request, spans: str | Spans) -> Labels:
    """The labels of a request with its reading; none for what extracts no mask."""
    return Labels() if isinstance(spans, str) else _Labeller(request, spans).label()


class _Labeller:
    """Labels one request."""

    def __init__(self, request: Request, spans: Spans) -> None:
        self.request = request
        self.spans = spans
        self.facts = [fact for _, facts in spans for fact in facts]
        self.mentions = request.numbers_of("mention")
        self.stated = self.mentions[:-1]
        self.modifiers = request.numbers_of(*MODIFIERS)
        self.pairs = set(linked_pairs(request))
        self.labels = Labels()
        self.turned: dict[int, bool | None] = {}

    def label(self) -> Labels:
        """All labels."""
        self._roles()
        for modifier in self.modifiers:
            self._direction(modifier)
        self._objects()
        for name, mentions, facts in self._targets():
            for modifier in self.modifiers:
                decisions = self._links("modifies", modifier, mentions)
                self.labels.add(decisions, hold=self._is_stated_of(modifier, facts))
            self._exclusions(name, mentions, facts)
        return self.labels

    def _class(self, number: int) -> str:
        return str(self.request.elements[number].value)

    def _links(self, kind: str, modifier: int, mentions: list[int]) -> list[Decision]:
        return [
            Decision(kind, modifier, mention)
            for mention in mentions
            if (modifier, mention) in self.pairs
        ]

    def _roles(self) -> None:
        targets = {name for name, _ in self.spans}
        excluded = {str(fact[1]) for fact in self.facts if fact[0] == "not"}
        for role, names, mentions in (
            ("target", targets, self.mentions),
            ("excluded", excluded, self.stated),
        ):
            for name in names:
                named = [Decision(role, n) for n in mentions if self._class(n) == name]
                self.labels.add(named, hold=True)
            others = [Decision(role, n) for n in mentions if self._class(n) not in names]
            self.labels.add(others, hold=False)

    def _direction(self, modifier: int) -> None:
        """Whether a modifier is meant as found, the other way round, or not at all."""
        as_found = self._is_stated(modifier, turned=False)
        turned = self._is_stated(modifier, turned=True)
        if as_found == turned:
            self.turned[modifier] = None
            return
        self.turned[modifier] = turned
        self.labels.add([Decision("reversed", modifier)], hold=turned)

    def _is_stated(self, modifier: int, *, turned: bool) -> bool:
        element = self.request.elements[modifier]
        if element.kind == "relation":
            side = _OTHER_SIDE[element.detail] if turned else element.detail
            return any(self._is_distance(fact, side, element.value) for fact in self.facts)
        found = facts_of_element(element, reversed_=turned)
        return all(holds(fact, self.facts) for fact in found)

    def _is_distance(self, fact: Fact, side: str, metres: float | None) -> bool:
        if fact[0] != side:
            return False
        if metres is None or fact[2] is None:
            return metres is None and fact[2] is None
        return holds((side, fact[1], metres), [fact])

    def _side(self, relation: int) -> str:
        side = str(self.request.elements[relation].detail)
        return _OTHER_SIDE[side] if self.turned[relation] else side

    def _objects(self) -> None:
        relations = self.request.numbers_of("relation")
        distances = {fact for fact in self.facts if fact[0] in _OTHER_SIDE}
        for fact in distances:
            decisions: list[Decision] = []
            for relation in relations:
                metres = self.request.elements[relation].value
                if self._is_distance(fact, self._side(relation), metres):
                    named = [n for n in self.stated if self._class(n) == fact[1]]
                    decisions += self._links("object", relation, named)
            self.labels.add(decisions, hold=True)
        pairs = {(fact[0], fact[1]) for fact in distances}
        for relation in relations:
            side = self._side(relation)
            others = [
                mention
                for mention in self.mentions
                if (side, self._class(mention)) not in pairs or mention not in self.stated
            ]
            self.labels.add(self._links("object", relation, others), hold=False)

    def _targets(self) -> Iterator[tuple[str, list[int], frozenset[Fact]]]:
        """Each mask with the mentions that may own it; of several of a class in their order."""
        for name in dict.fromkeys(name for name, _ in self.spans):
            masks = [facts for other, facts in self.spans if other == name]
            mentions = [number for number in self.mentions if self._class(number) == name]
            if len(masks) == 1:
                yield name, mentions, masks[0]
            elif len(masks) == len(mentions):
                for mention, facts in zip(mentions, masks, strict=True):
                    yield name, [mention], facts

    def _is_stated_of(self, modifier: int, facts: frozenset[Fact]) -> bool:
        """Whether a modifier is a constraint of one mask."""
        element = self.request.elements[modifier]
        if self.turned[modifier] is None and not self._is_stated(modifier, turned=False):
            return False
        if element.kind == "relation":
            side = self._side(modifier)
            return any(self._is_distance(fact, side, element.value) for fact in facts)
        stated = facts_of_element(element, reversed_=bool(self.turned[modifier]))
        return all(holds(fact, facts) for fact in stated)

    def _exclusions(self, name: str, mentions: list[int], facts: frozenset[Fact]) -> None:
        every = {fact[1] for fact in self.facts if fact[0] == "not"}
        for mention in self.stated:
            if self._class(mention) in every:
                decisions = self._links("modifies", mention, mentions)
                self.labels.add(decisions, hold=("not", self._class(mention)) in facts)


assert {"target", "excluded", "reversed"} == set(ROLES)
assert {"object", "modifies"} == set(LINKS)
