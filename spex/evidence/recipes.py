"""The recipes of ``classes.yaml`` on pixels: a margin map per class, positive where the class is.

A margin is the smallest of the recipe's signed distances from its thresholds, in units of each
quantity's softness, so that ``1 / (1 + exp(-margin))`` is a soft score and the class's mask is
exactly ``margin > 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from spex.evidence.classes import Condition, Recipe, classes
from spex.evidence.indices import compute_indices

Array = np.ndarray[Any, Any]
_SOFT_INDEX = 0.05
_SOFT_ROLE = 0.02
_SOFT_Z = 0.25


def recipe_indices(roles: Collection[str], level: str) -> list[str]:
    """All indices that the recipes fitting a scene use.

    Args:
        roles: band roles of the scene.
        level: its processing level.
    """
    names = set()
    for land_class in classes().values():
        recipe = land_class.recipe(roles, level)
        for condition in recipe.conditions if recipe else ():
            if condition.is_index:
                names.add(condition.quantity)
    return sorted(names)


class RecipeMaps:
    """Margins of classes on one set of role planes, with a scene's thresholds and statistics.

    Args:
        planes: reflectance ``(h, w)`` per band role.
        level: processing level of the scene.
        thresholds: the scene's threshold per index.
        mean: the scene's mean per role.
        std: the scene's standard deviation per role.
        present: whether a class is present in the scene; absent classes take nothing away
            from others.
        indices: index maps that are computed already.
    """

    def __init__(
        self,
        planes: Mapping[str, Array],
        level: str,
        thresholds: Mapping[str, float],
        mean: Mapping[str, float],
        std: Mapping[str, float],
        present: Callable[[str], bool],
        indices: Mapping[str, Array] | None = None,
    ) -> None:
        self.planes = planes
        self.level = level
        self.thresholds = thresholds
        self.mean = mean
        self.std = std
        self.present = present
        self._indices = dict(indices or {})
        self._margins: dict[str, Array] = {}

    def index(self, name: str) -> Array:
        """An index map, computed once."""
        if name not in self._indices:
            self._indices |= compute_indices([name], self.planes)
        return self._indices[name]

    def threshold(self, condition: Condition) -> float:
        """The number with which a condition compares in this scene."""
        return condition.value + (
            self.thresholds[condition.quantity] if condition.relative else 0.0
        )

    def quantity(self, condition: Condition) -> Array:
        """The map ``(h, w)`` that a condition compares."""
        name = condition.quantity
        if condition.is_index:
            return self.index(name)
        if condition.standardised:
            standardised: Array = (self.planes[name] - np.float32(self.mean[name])) / np.float32(
                self.std[name] + 1e-6
            )
            return standardised
        return self.planes[name]

    def margin_of(self, condition: Condition) -> Array:
        """Signed distance ``(h, w)`` from a condition's threshold, in units of its softness."""
        softness = _SOFT_ROLE
        if condition.is_index:
            softness = _SOFT_INDEX
        elif condition.standardised:
            softness = _SOFT_Z
        scale = np.float32((1 if condition.above else -1) / softness)
        distance: Array = (self.quantity(condition) - np.float32(self.threshold(condition))) * scale
        return distance

    def recipe(self, name: str) -> Recipe | None:
        """The recipe of a class that fits these planes."""
        return classes()[name].recipe(self.planes, self.level)

    def margin(self, name: str) -> Array:
        """Signed distance ``(h, w)`` float32 of a class; NaN where an index is undefined.

        Args:
            name: of a class that has a recipe for these planes.
        """
        if name not in self._margins:
            land_class = classes()[name]
            recipe = self.recipe(name)
            assert recipe is not None, name
            margin = self.margin_of(recipe.conditions[0])
            for condition in recipe.conditions[1:]:
                np.minimum(margin, self.margin_of(condition), out=margin)
            if land_class.parent is not None:
                np.minimum(margin, self.margin(land_class.parent), out=margin)
            for other in land_class.without:
                if self.present(other):
                    np.minimum(margin, -self.margin(other), out=margin)
            self._margins[name] = margin
        return self._margins[name]
