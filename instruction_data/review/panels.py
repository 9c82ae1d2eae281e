"""Four pictures of one record: the image, its evidence for a class, the labels, and what the answer should extract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.query.answer_markup import Answer
from spex.records import SpieRecord
from spex.results.rendering import overlay, rgb_image

Image = NDArray[np.uint8]
_LOW, _HIGH = np.array([160, 90, 30], np.float32), np.array([20, 90, 200], np.float32)
_BLANK = 225


@dataclass(frozen=True)
class Panel:
    """A picture (h, w, 3) uint8 and what it shows."""

    image: Image
    caption: str


def panels(
    chip: LabelledChip,
    survey: SpieRecord,
    query: str = "",
    answer: Answer | None = None,
    target: ExpectedAnswer | None = None,
) -> list[Panel]:
    """Pictures of a chip, all of its size; the last one only where an answer was carried out.

    Args:
        chip: the survey's chip.
        survey: the labels.
        query: chooses whose evidence is shown where the answer has no span.
        answer: the answer, if there is one.
        target: the answer carried out.
    """
    image, words = rgb_image(chip.pixels)
    spans = answer.spans if answer else ()
    asked = [span.class_name for span in spans] or mentioned_classes(query) or _largest(chip)
    found = [
        Panel(image, words),
        _evidence(chip, asked[0] if asked else "water"),
        _labels(chip, survey),
    ]
    if target is not None and spans:
        painted = overlay(
            _pale(image), target.values, [classes()[span.class_name].colour for span in spans]
        )
        note = ""
        unknown = [
            span.ignore.decode()
            for span in survey.spans
            if span.class_name in asked and span.ignore
        ]
        if unknown:
            painted = _hatched(painted, np.logical_or.reduce(unknown))
            note = "; hatched: labels cannot tell"
        untold = [span.phrase for span in spans if not chip.known(span.class_name)]
        note += f"; by evidence, without labels: {', '.join(untold)}" if untold else ""
        found.append(Panel(painted, "the answer's masks" + note))
    return found


def legend(chip: LabelledChip, survey: SpieRecord) -> list[tuple[str, str]]:
    """Colour and words of the labelled classes that the chip shows, largest first."""
    inside = {s.class_name: chip.mask(s.class_name)[chip.pixels.valid].mean() for s in survey.spans}
    return [
        (classes()[name].colour, f"{classes()[name].title} {share:.1%}")
        for name, share in sorted(inside.items(), key=lambda pair: -pair[1])
        if share
    ]


def _largest(chip: LabelledChip) -> list[str]:
    shown = [item for item in chip.evidence.classes.values() if item.status == "present"]
    return [item.name for item in sorted(shown, key=lambda item: -item.fraction)]


def _evidence(chip: LabelledChip, name: str) -> Panel:
    """The first quantity of a class's recipe: blue on the class's side of the threshold, brown on the other."""
    maps, item = chip.evidence.recipe_maps(chip.planes), chip.evidence.classes[name]
    recipe = maps.recipe(name)
    if recipe is None:
        blank = np.full((*chip.pixels.valid.shape, 3), _BLANK, np.uint8)
        return Panel(blank, f"no evidence of {classes()[name].title}: {item.reason}")
    first = recipe.conditions[0]
    threshold = maps.threshold(first)
    difference = (maps.quantity(first) - threshold) * (1 if first.above else -1)
    defined = chip.pixels.valid & np.isfinite(difference)
    most = np.percentile(np.abs(difference[defined]), 98) if defined.any() else 1.0
    strength = np.clip(np.where(defined, difference, 0) / max(most, 1e-6), -1, 1)[..., None]
    painted = 255 + np.abs(strength) * (np.where(strength > 0, _HIGH, _LOW) - 255)
    painted[~defined] = _BLANK
    side = "above" if first.above else "below"
    rule = f"{classes()[name].title}: {item.index or first.quantity} {side} {threshold:.2f} is blue"
    return Panel(np.rint(painted).astype(np.uint8), f"{rule}; {item.status}")


def _labels(chip: LabelledChip, survey: SpieRecord) -> Panel:
    """All labels: children over their parents, hatched where no class is known to be and some class is unknown."""
    names = [name for name in classes() if chip.known(name)]
    values = np.zeros(chip.pixels.valid.shape, np.uint8)
    for number, name in enumerate(names, start=1):
        values[chip.mask(name)] = number
    painted = overlay(
        _pale(rgb_image(chip.pixels)[0]), values, [classes()[name].colour for name in names]
    )
    unknown = [span.ignore.decode() for span in survey.spans if span.ignore]
    if unknown:
        painted = _hatched(painted, np.logical_or.reduce(unknown) & (values == 0))
    return Panel(painted, "labels; hatched: some class is unknown")


def _pale(image: Image) -> Image:
    """Light and without its colours, so that those of masks stand out."""
    return (
        (255 - (255 - image.mean(axis=2, keepdims=True)) * 0.6)
        .round()
        .astype(np.uint8)
        .repeat(3, axis=2)
    )


def _hatched(image: Image, where: NDArray[np.bool_]) -> Image:
    rows, cols = np.indices(where.shape)
    stripes = where & ((rows + cols) % max(4, where.shape[0] // 24) == 0)
    painted = image.copy()
    painted[stripes] = (255, 0, 200)
    return painted
