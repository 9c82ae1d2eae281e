"""What a request does to the turns before it: narrow, widen, replace, take away, go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spex.query.answer_markup import parse_answer
from spex.query.changes import (
    narrowed,
    reversed_mask,
    widened,
    with_distance,
    with_number,
    without_fields,
    without_other,
)
from spex.query.constraints import ANY, Constraints
from spex.query.interpretation import Interpretation
from spex.query.numerals import numbers_of
from spex.query.prompt import Exchange
from spex.query.reading import RequestedMask, Understood
from spex.query.request import Request

_ABOUT = ("why", "sure", "count", "share")
_OTHER_QUESTIONS = ("change", "measure", "topic", "thing")


def follow_up(
    request: Request, interpretation: Interpretation, history: Sequence[Exchange]
) -> Interpretation | None:
    """What a request asks for that refers to the turns before it; None where it does not.

    Args:
        request: the follow-up.
        interpretation: what it asks for on its own.
        history: the exchanges before; answers without masks are passed over.
    """
    turns = [masks for exchange in history if (masks := _masks_of(exchange))]
    if not turns:
        return None
    read = _FollowUp(request, interpretation, turns).read()
    return None if read is None else replace(interpretation, masks=read)


def _masks_of(exchange: Exchange) -> list[RequestedMask]:
    """The masks of an earlier answer, understood from its query."""
    masks = []
    for span in parse_answer(exchange.answer).spans:
        stated = {"class": span.class_name, **span.constraints.to_dict()}
        understood = tuple(Understood(f"{k}={v}", exchange.query) for k, v in stated.items())
        masks.append(RequestedMask(span.class_name, span.phrase, span.constraints, understood))
    return masks


def _as_condition(mask: RequestedMask) -> RequestedMask:
    """A mask; one near to its own class is none, but a condition ("next to woods")."""
    near_or_far = {item.class_name for item in (*mask.constraints.near, *mask.constraints.far)}
    return replace(mask, class_name=ANY, phrase="") if mask.class_name in near_or_far else mask


class _FollowUp:
    """Reads a request against the masks of earlier turns."""

    def __init__(
        self,
        request: Request,
        interpretation: Interpretation,
        turns: Sequence[list[RequestedMask]],
    ) -> None:
        self.request = request
        self.own = interpretation
        self.turns = turns
        self.before = turns[-1]
        self.kinds = {kind for item in request.items for kind in item.values}
        masks = [_as_condition(mask) for mask in interpretation.masks]
        self.targets = [mask for mask in masks if mask.class_name != ANY]
        self.constraints = next(
            (mask.constraints for mask in masks if mask.class_name == ANY), Constraints()
        )

    def read(self) -> list[RequestedMask] | None:
        """What is asked for, or None where the request stands on its own."""
        return self._with_class() if self.targets else self._without_class()

    def _says(self, *kinds: str) -> bool:
        return any(kind in self.kinds for kind in kinds)

    # The request names a class ----------------------------------------------------------------

    def _with_class(self) -> list[RequestedMask] | None:
        names = {mask.class_name for mask in self.targets}
        replaced = self._replacement()
        if replaced is not None:
            return replaced
        without = self._without_relation(names)
        if without is not None:
            return without
        if self._takes_away():
            taken = Constraints(exclude=tuple(names))
            left = [self._without_excluded(mask, taken) for mask in self.before]
            return [mask for mask in left if mask is not None]
        if self._says("back"):
            earlier = self._earlier(names)
            if earlier:
                return [narrowed(mask, self._own_constraints(mask)) for mask in earlier]
        if self._says("same", "instead"):
            return [self._in_place_of(self.before[0], mask) for mask in self.targets]
        if self._says("only"):
            return self._only(names)
        if self._says("also") and not self._asks_anew():
            remaining = [mask for mask in self.before if mask.class_name not in names]
            return [*remaining, *self.targets]
        return None

    def _replacement(self) -> list[RequestedMask] | None:
        """A class put right: "no, I meant roads", "roads, not houses", "not roads, rivers"."""
        earlier = {mask.class_name for mask in self.before}
        excluded = {name for mask in self.targets for name in mask.constraints.exclude}
        if excluded and excluded <= earlier:
            plain = [without_other(mask, excluded) for mask in self.targets]
            return [self._in_place_of(self.before[0], mask) for mask in plain]
        if not self._says("meant"):
            return None
        repeated = [mask for mask in self.targets if mask.class_name in earlier]
        if excluded and repeated:
            names = sorted(excluded)
            mask = self.before[0]
            return [self._in_place_of(mask, RequestedMask(name, name)) for name in names]
        return [self._in_place_of(self.before[0], mask) for mask in self.targets]

    def _without_relation(self, names: set[str]) -> list[RequestedMask] | None:
        """Classes that earlier constraints refer to: "never mind the river", "trees can stay"."""
        others = {name for mask in self.before for name in mask.constraints.other_classes()}
        if names <= others and self._says("drop", "back", "not", "free_after"):
            return [without_other(mask, names) for mask in self.before]
        return None

    def _takes_away(self) -> bool:
        """Whether the only class of the turn is one to leave out: "the meadows not"."""
        if len(self.targets) != 1 or self._says("only", "meant", "back", "instead", "same"):
            return False
        (target,) = self.targets
        plain = target.constraints == Constraints()
        return plain and self._says("not", "free_after", "drop")

    def _only(self, names: set[str]) -> list[RequestedMask] | None:
        """Some of the classes before, or one class in place of those before."""
        chosen = [mask for mask in self.before if mask.class_name in names]
        if chosen:
            return [narrowed(mask, self._own_constraints(mask)) for mask in chosen]
        if len(self.before) == 1 and self._says("this"):
            return [self._in_place_of(self.before[0], mask) for mask in self.targets]
        return None

    def _asks_anew(self) -> bool:
        """Whether "and" only begins another question: "and the meadows?"."""
        text = self.request.text.strip()
        first = self.request.items[0]
        return text.endswith(("?", "？")) and (text.startswith("¿") or first.any_of("and", "also"))

    def _earlier(self, names: set[str]) -> list[RequestedMask]:
        """The last masks of these classes before."""
        for masks in reversed(self.turns):
            matching = [mask for mask in masks if mask.class_name in names]
            if matching:
                return matching
        return []

    def _own_constraints(self, mask: RequestedMask) -> Constraints:
        """What this turn asks of a class."""
        for target in self.targets:
            if target.class_name == mask.class_name:
                return target.constraints
        return Constraints()

    def _in_place_of(self, earlier: RequestedMask, mask: RequestedMask) -> RequestedMask:
        """A class under the constraints of an earlier one, unless it has its own."""
        carried = narrowed(earlier, mask.constraints)
        carried_parts = tuple(
            item for item in carried.understood if not item.what.startswith("class=")
        )
        first = mask.understood[:1] or (Understood(f"class={mask.class_name}", mask.phrase),)
        return replace(mask, constraints=carried.constraints, understood=(*first, *carried_parts))

    # The request names none -------------------------------------------------------------------

    def _without_class(self) -> list[RequestedMask] | None:
        is_plain = self.constraints == Constraints()
        if self._says("reverse") and is_plain:
            return reversed_mask(self.before)
        if self._says("back") and is_plain and not self._says("whole_scene"):
            return self._back()
        if self._says("both") and is_plain:
            return self._last_classes()
        distance = self._distance()
        if distance is not None:
            return distance
        if self._says("drop") and is_plain:
            return [
                without_fields(mask, self.request.text, self.request.language)
                for mask in self.before
            ]
        if not is_plain:
            return self._constrained()
        changed = self._changed_number()
        if changed is not None:
            return changed
        if self._says("whole_scene", *_OTHER_QUESTIONS):
            return None
        chosen = self._chosen()
        if len(chosen) < len(self.before) or self._says(*_ABOUT, "this", "unit"):
            return list(chosen)
        return None

    def _constrained(self) -> list[RequestedMask] | None:
        """The masks before under the constraints of this turn."""
        names_all = any(mask.phrase and mask.constraints.exclude for mask in self.own.masks)
        if names_all and not self._says("this", "also", "free_after"):
            return None  # "everything but water" asks anew
        masks = []
        for mask in self._chosen():
            if self._says("also") and self.constraints.where:
                masks.append(widened(mask, self.constraints))
                continue
            remaining = self._without_excluded(mask, self.constraints)
            if remaining is not None:
                masks.append(remaining)
        return masks

    def _back(self) -> list[RequestedMask]:
        if self._says("first_one"):
            return self.turns[0]
        if self._says("this", "only") or len(self.turns) == 1:
            return self.before
        return self.turns[-2]

    def _last_classes(self) -> list[RequestedMask] | None:
        """The classes of the last turns together: of two, or of as many as a number says."""
        numbers = [value for *_, value in numbers_of(self.request.text, self.request.language)]
        count = max([2, *(int(value) for value in numbers)])
        masks: dict[str, RequestedMask] = {}
        for turn in self.turns[-count:]:
            masks.update({mask.class_name: mask for mask in turn})
        return list(masks.values()) if len(masks) > 1 else None

    def _chosen(self) -> list[RequestedMask]:
        """The masks that "the first one" or "the latter" picks; else all of them."""
        if len(self.before) > 1:
            if self._says("second_one"):
                return [self.before[1]]
            if self._says("first_one"):
                return [self.before[0]]
        return self.before

    def _without_excluded(
        self, mask: RequestedMask, constraints: Constraints
    ) -> RequestedMask | None:
        """A mask under more constraints; None where its class is what is taken away."""
        if mask.class_name in constraints.exclude and len(self.before) > 1:
            return None
        earlier = {other.class_name for other in self.before}
        others = tuple(name for name in constraints.exclude if name not in earlier)
        return narrowed(mask, replace(constraints, exclude=others))

    def _distance(self) -> list[RequestedMask] | None:
        """A distance without a class takes the place of the one before."""
        relations = [
            element
            for element in self.request.elements
            if element.kind == "relation" and element.value is not None
        ]
        stated = [e for e in self.request.elements[:-1] if e.kind == "mention" and e.value != ANY]
        if not relations or stated:
            return None
        relation = relations[0]
        changed = [
            with_distance(mask, relation.detail, relation.value, self.request.text)
            for mask in self.before
        ]
        return None if changed == self.before else changed

    def _changed_number(self) -> list[RequestedMask] | None:
        """A number alone takes the place of the only number before it."""
        numbers = [item.values["number"] for item in self.request.items if "number" in item]
        if len(numbers) != 1:
            return None
        text, language = self.request.text, self.request.language
        changed = [with_number(mask, numbers[0], text, language) for mask in self.before]
        return None if changed == self.before else changed
