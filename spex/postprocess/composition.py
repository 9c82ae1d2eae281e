"""From probabilities to the one mask raster: threshold, constraints, and which mask owns a pixel.

Order: threshold 0.5; pixel constraints (index, part of the scene, excluded classes); sizes of
regions; then each pixel goes to one mask, and sizes are checked again on what is left, so that
every region in the file meets its constraints. A pixel that several masks contain goes to the child
class before its parent, to the more constrained of two spans of one class, then to the higher
probability.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.evidence.classes import classes
from spex.postprocess.components import RegionSweep
from spex.postprocess.constraint_masks import Frame, asks_regions, kept_regions, meets_index
from spex.query.answer_markup import Answer, Span, other_classes
from spex.query.constraints import ANY
from spex.raster.damaged_scene import read_around_damage
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA, row_strips, working_profile

StripMasks = Callable[[Window], NDArray[np.bool_]]
"""The masks ``(n, h, w)`` of a strip. Strips are asked for in order, each once per sweep."""


def narrower(inner: Span, outer: Span) -> bool:
    """Whether a pixel of both spans belongs to ``inner``.

    So it does if its class is a descendant of the other's, or the same with more constraints.
    Every class is a descendant of ``any``.
    """
    if inner.class_name == outer.class_name:
        return len(inner.constraints.to_dict()) > len(outer.constraints.to_dict())
    if ANY in (inner.class_name, outer.class_name):
        return outer.class_name == ANY
    ancestor = classes()[inner.class_name].parent
    while ancestor is not None and ancestor != outer.class_name:
        ancestor = classes()[ancestor].parent
    return ancestor is not None


def write_mask(
    frame: Frame, answer: Answer, probability: Path, path: Path, never: frozenset[int] = frozenset()
) -> None:
    """Write the mask raster of an answer.

    Args:
        frame: extent of the scene's valid pixels.
        answer: its spans are the masks.
        probability: raster of a band per span, then one per class of ``other_classes``.
        path: of the raster to write: 0 background, 1..n the spans in order, 255 no data.
        never: numbers of the spans that stay empty, because this scene cannot show their class.
    """
    scene = frame.scene
    spans = answer.spans
    by_index = any(span.constraints.index for span in spans)
    planes = len(spans) + len(other_classes(answer)) + 4
    planes += len(scene.bands) if by_index else 0
    profile = working_profile(scene, 1)
    composed = path.with_suffix(".composed.tif")
    bands = list(range(1, len(spans) + 1))
    with rasterio.open(probability) as source:

        def allowed(window: Window) -> NDArray[np.bool_]:
            return _allowed_pixels(frame, answer, window, source.read(window=window), never)

        sized = _without_wrong_sizes(frame, spans, allowed, planes)
        with rasterio.open(composed, "w", **profile) as out:
            for window in row_strips(scene.height, scene.width, planes):
                levels = source.read(bands, window=window)
                values = _owners(sized(window), levels, spans)
                values[levels[0] == NODATA] = NODATA
                out.write(values, 1, window=window)
    if len(spans) == 1 or not any(asks_regions(span.constraints) for span in spans):
        composed.replace(path)
        return
    span_values = np.arange(1, len(spans) + 1)[:, None, None]
    with rasterio.open(composed) as source, rasterio.open(path, "w", **profile) as out:

        def owned(window: Window) -> NDArray[np.bool_]:
            return np.asarray(source.read(1, window=window)[None] == span_values)

        sized = _without_wrong_sizes(frame, spans, owned, planes)
        for window in row_strips(scene.height, scene.width, planes):
            values = source.read(1, window=window)
            values[(values != NODATA) & ~sized(window).any(axis=0)] = 0
            out.write(values, 1, window=window)
    composed.unlink()


def _allowed_pixels(
    frame: Frame,
    answer: Answer,
    window: Window,
    levels: NDArray[np.uint8],
    never: frozenset[int],
) -> NDArray[np.bool_]:
    """Pixels of a strip that reach probability 0.5 and meet the pixel constraints, ``(n, h, w)``.

    Args:
        frame: extent of the scene's valid pixels.
        answer: its spans are the masks.
        window: of the strip.
        levels: of the probability raster, ``(bands, h, w)``.
        never: numbers of the spans that stay empty.
    """
    spans = answer.spans
    excluded = other_classes(answer)
    valid = levels[0] != NODATA
    masks = np.asarray((levels[: len(spans)] >= HALF_PROBABILITY) & valid)
    pixels = None
    if any(span.constraints.index for span in spans):
        pixels = read_around_damage(frame.scene, window, valid)
    for number, (mask, span) in enumerate(zip(masks, spans, strict=True)):
        mask &= number not in never
        if span.constraints.where:
            mask &= frame.part(span.constraints.where[0], window)
        if span.constraints.index and pixels is not None:
            mask &= meets_index(span.constraints, pixels)
        for name in span.constraints.exclude:
            mask &= levels[len(spans) + excluded.index(name)] < HALF_PROBABILITY
    return masks


def _without_wrong_sizes(
    frame: Frame, spans: tuple[Span, ...], masks: StripMasks, planes: int
) -> StripMasks:
    """The masks without the regions that break their size constraints.

    Takes one sweep over the scene, if any span constrains the sizes of its regions.
    """
    numbers = [number for number, span in enumerate(spans) if asks_regions(span.constraints)]
    if not numbers:
        return masks
    scene = frame.scene
    areas = scene.pixel_area_m2()
    sweeps = {number: RegionSweep() for number in numbers}
    for window in row_strips(scene.height, scene.width, planes):
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        values = {} if areas is None else {"area_m2": areas[rows, None]}
        strip = masks(window)
        for number in numbers:
            sweeps[number].add(strip[number], values)
    kept_labels = {}
    for number in numbers:
        table = sweeps[number].finish()
        kept_labels[number] = kept_regions(spans[number].constraints, table)[table.final]
    second_sweeps = {number: RegionSweep() for number in numbers}

    def filtered(window: Window) -> NDArray[np.bool_]:
        strip = masks(window)
        for number in numbers:
            labels = second_sweeps[number].add(strip[number])
            strip[number] = kept_labels[number][labels]
        return strip

    return filtered


def _owners(
    masks: NDArray[np.bool_], levels: NDArray[np.uint8], spans: tuple[Span, ...]
) -> NDArray[np.uint8]:
    """One value 0..n per pixel.

    Args:
        masks: ``(n, h, w)``, may overlap.
        levels: probabilities of the masks, ``(n, h, w)``.
        spans: of the masks.
    """
    if len(spans) == 1:
        return masks[0].astype(np.uint8)
    contested = masks.copy()
    for outer, outer_span in enumerate(spans):
        for inner, inner_span in enumerate(spans):
            if narrower(inner_span, outer_span):
                contested[outer] &= ~masks[inner]
    most_likely = np.where(contested, levels.astype(np.int16), -1).argmax(axis=0)
    return np.where(contested.any(axis=0), most_likely + 1, 0).astype(np.uint8)
