"""Pictures of one record: the image, the evidence for a class, the labels, the answer's masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.query.answer_markup import Answer
from spex.records import SpieRecord
from spex.results.picture_sheet import Panel
from spex.results.rendering import overlay, rgb_image

Image = NDArray[np.uint8]
# RGB on the two sides of a threshold.
_BELOW = np.array([160, 90, 30], np.float32)
_ABOVE = np.array([20, 90, 200], np.float32)
_BLANK = 225  # grey where nothing is defined
_HATCH = (255, 0, 200)


def panels(
    chip: LabelledChip,
    survey: SpieRecord,
    query: str = "",
    answer: Answer | None = None,
    expected: ExpectedAnswer | None = None,
) -> list[Panel]:
    """Pictures of a chip, all of its size; the last one only if an answer was carried out.

    Args:
        chip: the chip of the survey.
        survey: the labels.
        query: chooses the class whose evidence is shown if the answer has no span.
        answer: the answer, if there is one.
        expected: the answer carried out.
    """
    image, image_caption = rgb_image(chip.pixels)
    spans = answer.spans if answer else ()
    names = [span.class_name for span in spans] or mentioned_classes(query) or _present(chip)
    pictures = [
        Panel(image, image_caption),
        _evidence_panel(chip, names[0] if names else "water"),
        _labels_panel(chip, survey),
    ]
    if answer is not None and spans and expected is not None:
        pictures.append(_answer_panel(chip, survey, answer, expected))
    return pictures


def legend(chip: LabelledChip, survey: SpieRecord) -> list[tuple[str, str]]:
    """Colour and text of the labelled classes on the chip, largest first."""
    shares: dict[str, float] = {}
    for span in survey.spans:
        mask = chip.mask(span.class_name)
        shares[span.class_name] = float(mask[chip.pixels.valid].mean())
    return [
        (classes()[name].colour, f"{classes()[name].title} {share:.1%}")
        for name, share in sorted(shares.items(), key=lambda entry: -entry[1])
        if share
    ]


def _present(chip: LabelledChip) -> list[str]:
    """Classes that the evidence states as present, largest first."""
    present = [entry for entry in chip.evidence.classes.values() if entry.status == "present"]
    return [entry.name for entry in sorted(present, key=lambda entry: -entry.fraction)]


def _evidence_panel(chip: LabelledChip, name: str) -> Panel:
    """The first quantity of a class's recipe: blue where it meets the threshold, else brown."""
    maps = chip.evidence.recipe_maps(chip.planes)
    entry = chip.evidence.classes[name]
    recipe = maps.recipe(name)
    if recipe is None:
        blank = np.full((*chip.pixels.valid.shape, 3), _BLANK, np.uint8)
        return Panel(blank, f"no evidence of {classes()[name].title}: {entry.reason}")
    condition = recipe.conditions[0]
    threshold = maps.threshold(condition)
    difference = (maps.quantity(condition) - threshold) * (1 if condition.above else -1)
    defined = chip.pixels.valid & np.isfinite(difference)
    largest = np.percentile(np.abs(difference[defined]), 98) if defined.any() else 1.0
    strength = np.clip(np.where(defined, difference, 0) / max(largest, 1e-6), -1, 1)[..., None]
    painted = 255 + np.abs(strength) * (np.where(strength > 0, _ABOVE, _BELOW) - 255)
    painted[~defined] = _BLANK
    quantity = entry.index or condition.quantity
    side = "above" if condition.above else "below"
    caption = f"{classes()[name].title}: {quantity} {side} {threshold:.2f} is blue; {entry.status}"
    return Panel(np.rint(painted).astype(np.uint8), caption)


def _labels_panel(chip: LabelledChip, survey: SpieRecord) -> Panel:
    """All labels, children over their parents; hatched where no class is known to be.

    Only pixels where some class is unknown are hatched.
    """
    names = [name for name in classes() if chip.known(name)]
    numbers = np.zeros(chip.pixels.valid.shape, np.uint8)
    for number, name in enumerate(names, start=1):
        numbers[chip.mask(name)] = number
    colours = [classes()[name].colour for name in names]
    painted = overlay(_pale(rgb_image(chip.pixels)[0]), numbers, colours)
    unknown = [span.ignore.decode() for span in survey.spans if span.ignore]
    if unknown:
        painted = _hatched(painted, np.logical_or.reduce(unknown) & (numbers == 0))
    return Panel(painted, "labels; hatched: some class is unknown")


def _answer_panel(
    chip: LabelledChip, survey: SpieRecord, answer: Answer, expected: ExpectedAnswer
) -> Panel:
    """The masks of an answer; hatched where the labels of its classes are unknown."""
    image, _ = rgb_image(chip.pixels)
    names = [span.class_name for span in answer.spans]
    colours = [classes()[name].colour for name in names]
    painted = overlay(_pale(image), expected.values, colours)
    caption = "the answer's masks"
    unknown = [
        span.ignore.decode() for span in survey.spans if span.class_name in names and span.ignore
    ]
    if unknown:
        painted = _hatched(painted, np.logical_or.reduce(unknown))
        caption += "; hatched: unknown in the labels"
    unlabelled = [span.phrase for span in answer.spans if not chip.known(span.class_name)]
    if unlabelled:
        caption += f"; from evidence, without labels: {', '.join(unlabelled)}"
    return Panel(painted, caption)


def _pale(image: Image) -> Image:
    """The image in light grey, so that the colours of masks stand out."""
    grey = image.mean(axis=2, keepdims=True)
    light = 255 - (255 - grey) * 0.6
    return light.round().astype(np.uint8).repeat(3, axis=2)


def _hatched(image: Image, where: NDArray[np.bool_]) -> Image:
    rows, cols = np.indices(where.shape)
    spacing = max(4, where.shape[0] // 24)
    painted = image.copy()
    painted[where & ((rows + cols) % spacing == 0)] = _HATCH
    return painted
