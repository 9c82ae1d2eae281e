"""Examples of a downstream task: few-shot subsets and augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spex.raster.scene import Pixels
from train.data.random_windows import cut_square, random_window
from train.data.symmetry import Symmetry

_MIN_SHOWN_SHARE = 0.02  # of the known pixels, from which an example shows a class


@dataclass(frozen=True)
class Example:
    """One or two images of a place and their labels.

    Attributes:
        id: Id of the last record; for a tile of a scene, with its row and column.
        place: Place of the record.
        dates: One image, or two of equal size; values as float16.
        target: int64 (h, w), or () for a scene: the number of the class, -1 for unknown.
    """

    id: str
    place: str
    dates: tuple[Pixels, ...]
    target: NDArray[np.int64]

    def shows(self, class_number: int) -> bool:
        """Whether a class covers a relevant share of the known pixels."""
        known_count = max(1, (self.target >= 0).sum())
        return bool((self.target == class_number).sum() >= _MIN_SHOWN_SHARE * known_count)


def few_shot_examples(
    examples: Sequence[Example], class_numbers: Sequence[int], shots: int | None, seed: int
) -> list[Example]:
    """For each class, the first ``shots`` examples that show it.

    The order is random, and every place comes once before any comes twice. Larger subsets contain
    the smaller ones of the same seed.

    Args:
        examples: To choose from.
        class_numbers: The classes.
        shots: Examples per class; None for all examples.
        seed: Of the order.
    """
    if shots is None:
        return list(examples)
    ordered = _spread_over_places(examples, seed)
    chosen: dict[str, Example] = {}
    for class_number in class_numbers:
        showing = [example for example in ordered if example.shows(class_number)]
        chosen |= {example.id: example for example in showing[:shots]}
    return list(chosen.values())


def _spread_over_places(examples: Sequence[Example], seed: int) -> list[Example]:
    """Examples in random order, every place once before any comes twice."""
    rng = np.random.default_rng(seed)
    place_counts: dict[str, int] = {}
    ranked: list[tuple[int, Example]] = []
    for number in rng.permutation(len(examples)).tolist():
        example = examples[number]
        rank = place_counts.get(example.place, 0)
        ranked.append((rank, example))
        place_counts[example.place] = rank + 1
    ranked.sort(key=lambda pair: pair[0])
    return [example for _, example in ranked]


def augment(example: Example, size: int, rng: Generator) -> Example:
    """Cut a random square from all dates and the target, turned and mirrored alike.

    Smaller images are padded with invalid pixels.

    Args:
        example: What to cut from.
        size: Side of the square in pixels.
        rng: Source of randomness.
    """
    window = random_window(rng, example.dates[0].valid.shape, size)
    symmetry = Symmetry.draw(rng)
    dates = []
    for pixels in example.dates:
        values = symmetry.apply(cut_square(pixels.values, window, size))
        valid = symmetry.apply(cut_square(pixels.valid, window, size))
        dates.append(
            replace(
                pixels,
                values=np.ascontiguousarray(values),
                valid=np.ascontiguousarray(valid),
            )
        )
    target = example.target
    if target.ndim:
        target = symmetry.apply(cut_square(target, window, size, fill=-1)).copy()
    return replace(example, dates=tuple(dates), target=target)
