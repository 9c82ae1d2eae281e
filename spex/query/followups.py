"""What a request does to the turns before it: narrow, widen, replace, take away, go back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spex.query.answer_markup import parse_answer
from spex.query.constraints import ANY, Constraints, IndexCondition
from spex.query.interpretation import Interpretation, is_open, merged
from spex.query.linking import Request
from spex.query.prompt import Exchange
from spex.query.reading import RequestedMask, Understood

_ABOUT = ("why", "sure", "count", "share")
_SIZES = ("min_area", "max_area")


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
    return _FollowUp(request, interpretation, turns).read()


def _masks_of(exchange: Exchange) -> list[RequestedMask]:
    """The masks of an earlier answer, understood from its query."""
    masks = []
    for span in parse_answer(exchange.answer).spans:
        stated = {"class": span.class_name, **span.constraints.to_dict()}
        understood = tuple(Understood(f"{k}={v}", exchange.query) for k, v in stated.items())
        masks.append(RequestedMask(span.class_name, span.phrase, span.constraints, understood))
    return masks


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
        self.targets = [mask for mask in interpretation.masks if mask.class_name != ANY]

    def read(self) -> Interpretation | None:
        """What is asked for, or None where the request stands on its own."""
        masks = self._with_class() if self.targets else self._without_class()
        return None if masks is None else replace(self.own, masks=masks)

    def _says(self, *kinds: str) -> bool:
        return any(kind in self.kinds for kind in kinds)

    # The request names a class ----------------------------------------------------------------

    def _with_class(self) -> list[RequestedMask] | None:
        names = {mask.class_name for mask in self.targets}
        if self._says("back"):
            earlier = self._earlier(names)
            if earlier:
                return [_narrowed(mask, self._own_constraints(mask)) for mask in earlier]
        if self._says("same", "instead", "meant"):
            return [self._in_place_of(self.before[0], mask) for mask in self.targets]
        if self._says("also") and not self._says("from_scratch"):
            kept = [mask for mask in self.before if mask.class_name not in names]
            return [*kept, *self.targets]
        if self._says("only", "this"):
            kept = [mask for mask in self.before if mask.class_name in names]
            if kept:
                return [_narrowed(mask, self._own_constraints(mask)) for mask in kept]
        return None

    def _earlier(self, names: set[str]) -> list[RequestedMask]:
        """The last masks of these classes before."""
        for masks in reversed(self.turns):
            kept = [mask for mask in masks if mask.class_name in names]
            if kept:
                return kept
        return []

    def _own_constraints(self, mask: RequestedMask) -> Constraints:
        """What this turn asks of a class."""
        for own in self.targets:
            if own.class_name == mask.class_name:
                return own.constraints
        return Constraints()

    def _in_place_of(self, earlier: RequestedMask, mask: RequestedMask) -> RequestedMask:
        """A class under the constraints of an earlier one, unless it has its own."""
        carried = _narrowed(earlier, mask.constraints)
        own = tuple(item for item in carried.understood if not item.what.startswith("class="))
        return replace(mask, constraints=carried.constraints, understood=(mask.understood[0], *own))

    # The request names none -------------------------------------------------------------------

    def _without_class(self) -> list[RequestedMask] | None:
        constraints = self._open_constraints()
        if self._says("back") and constraints == Constraints():
            return self._back()
        if self._says("both") and constraints == Constraints() and len(self.turns) > 1:
            names = {mask.class_name for mask in self.before}
            return [*(m for m in self.turns[-2] if m.class_name not in names), *self.before]
        if self._says("drop") and constraints == Constraints():
            return [self._dropped(mask) for mask in self.before]
        chosen = self._chosen()
        if constraints != Constraints():
            if not is_open(self.own.masks) and not self._says("this", "only", "also", "first_one"):
                return None
            narrowed = [self._without_excluded(mask, constraints) for mask in chosen]
            return [mask for mask in narrowed if mask is not None]
        changed = self._changed_number()
        if changed is not None:
            return changed
        if len(chosen) < len(self.before) or self._says(*_ABOUT):
            return list(chosen)
        return None

    def _open_constraints(self) -> Constraints:
        """What is asked of no class in particular."""
        for mask in self.own.masks:
            if mask.class_name == ANY:
                return mask.constraints
        return Constraints()

    def _back(self) -> list[RequestedMask]:
        return self.turns[0] if self._says("first_one") else self.turns[max(0, len(self.turns) - 2)]

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
        others = tuple(name for name in constraints.exclude if name != mask.class_name)
        kept_classes = {other.class_name for other in self.before}
        others = tuple(name for name in others if name not in kept_classes)
        return _narrowed(mask, replace(constraints, exclude=others))

    def _dropped(self, mask: RequestedMask) -> RequestedMask:
        """A mask without the constraints that the words name; without all where they name none."""
        words = self.request.text.lower()
        fields = _fields_named(words)
        held = {
            name: getattr(Constraints(), name)
            for name in vars(mask.constraints)
            if not fields or name in fields
        }
        constraints = replace(mask.constraints, **held)
        stated = constraints.to_dict()
        understood = tuple(
            item
            for item in mask.understood
            if item.what.startswith("class=") or item.what.split("=")[0] in stated
        )
        return replace(mask, constraints=constraints, understood=understood)

    def _changed_number(self) -> list[RequestedMask] | None:
        """A number alone takes the place of the only number before it."""
        numbers = [item.values["number"] for item in self.request.items if "number" in item]
        if len(numbers) != 1:
            return None
        changed = [_with_number(mask, numbers[0], self.request.text) for mask in self.before]
        return None if changed == self.before else changed


def _fields_named(words: str) -> set[str]:
    """Fields of ``Constraints`` that are called by name, in any of the languages."""
    fields = set[str]()
    table = {
        ("size", "area", "ha", "limit", "tamañ", "taill", "größ", "大小", "面积"): _SIZES,
        ("distan", "abstand", "距离"): ("near", "far"),
        ("ndvi", "index", "índice", "indice", "指数"): ("index",),
        ("north", "south", "east", "west", "part", "side", "where"): ("where",),
    }
    for stems, names in table.items():
        if any(stem in words for stem in stems):
            fields.update(names)
    return fields


def _narrowed(mask: RequestedMask, constraints: Constraints) -> RequestedMask:
    """A mask under more constraints; of one kind the new ones count."""
    change: dict[str, Any] = {}
    for name, value in vars(constraints).items():
        if value:
            change[name] = value
    base = mask.constraints
    if constraints.where:
        base = replace(base, where=())
    for condition in constraints.index:
        kept = tuple(c for c in base.index if c.name != condition.name or c.side != condition.side)
        base = replace(base, index=kept)
    for side in ("near", "far"):
        names = {distance.class_name for distance in getattr(constraints, side)}
        kept = tuple(d for d in getattr(base, side) if d.class_name not in names)
        fields: dict[str, Any] = {side: kept}
        base = replace(base, **fields)
    combined = merged(base, change)
    stated = combined.to_dict()
    earlier = {item.what: item for item in mask.understood}
    understood = [item for item in mask.understood if item.what.startswith("class=")]
    for name, value in stated.items():
        what = f"{name}={value}"
        understood.append(earlier.get(what, Understood(what, "")))
    return replace(mask, constraints=combined, understood=tuple(understood))


def _with_number(mask: RequestedMask, number: float, words: str) -> RequestedMask:
    """A mask whose only number is another one."""
    constraints = mask.constraints
    change: dict[str, Any] = {}
    for name in _SIZES:
        area = getattr(constraints, name)
        if area:
            change[name] = (number, area[1])
    if len(constraints.index) == 1:
        only = constraints.index[0]
        change["index"] = (IndexCondition(only.name, only.side, number),)
    for side in ("near", "far"):
        distances = getattr(constraints, side)
        if len(distances) == 1:
            change[side] = (replace(distances[0], metres=number),)
    for name in ("top", "bottom"):
        if getattr(constraints, name):
            change[name] = int(number)
    if len(change) != 1:
        return mask
    changed = replace(constraints, **change)
    understood = [item for item in mask.understood if item.what.startswith("class=")]
    understood += [Understood(f"{k}={v}", words) for k, v in changed.to_dict().items()]
    return replace(mask, constraints=changed, understood=tuple(understood))
