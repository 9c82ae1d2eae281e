"""From probabilities to the one mask raster: threshold, constraints, and which mask owns a pixel.

Order: threshold 0.5; pixel constraints (index, part of the scene, distances, excluded classes);
sizes of regions; then each pixel goes to one mask, and sizes are checked again on what is left, so
that every region in the file meets its constraints. A pixel that several masks contain goes to the
child class before its parent, to the more constrained of two spans of one class, then to the higher
probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.evidence.classes import classes
from spex.postprocess.allowed_pixels import StripMasks, allowed_pixels, planes_held
from spex.postprocess.components import RegionSweep
from spex.postprocess.constraint_masks import (
    Frame,
    asks_percent,
    asks_regions,
    kept_regions,
    without_all_but,
)
from spex.query.answer_markup import Answer, Span
from spex.query.constraints import ANY, Constraints
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA, row_strips, working_profile


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
        probability: raster of a band per span, then one per class of ``other_classes``. The band of
            ``any`` holds probability 1 at every valid pixel.
        path: of the raster to write: 0 background, 1..n the spans in order, 255 no data.
        never: numbers of the bands, from 0, that count as empty, because this scene cannot show
            their class.
    """
    scene = frame.scene
    spans = answer.spans
    strips = list(row_strips(scene.height, scene.width, planes_held(frame, answer)))
    profile = working_profile(scene, 1)
    composed = path.with_suffix(".composed.tif")
    bands = list(range(1, len(spans) + 1))
    with (
        rasterio.open(probability) as source,
        allowed_pixels(frame, answer, source, strips, never, path.parent) as allowed,
    ):
        constraints = [span.constraints for span in spans]
        by_share = any(map(asks_percent, constraints))
        valid_size = _valid_size(scene, source, strips) if by_share else 0.0
        sized = _without_wrong_sizes(scene, constraints, allowed, strips, valid_size)
        with rasterio.open(composed, "w", **profile) as out:
            for window in strips:
                levels = source.read(bands, window=window)
                values = _owners(sized(window), levels, spans)
                values[levels[0] == NODATA] = NODATA
                out.write(values, 1, window=window)
    # What "all but the largest" took away is gone: asked again, it would take away the next.
    constraints = [without_all_but(limits) for limits in constraints]
    if len(spans) == 1 or not any(map(asks_regions, constraints)):
        composed.replace(path)
        return
    span_values = np.arange(1, len(spans) + 1)[:, None, None]
    with rasterio.open(composed) as source, rasterio.open(path, "w", **profile) as out:

        def owned(window: Window) -> NDArray[np.bool_]:
            return np.asarray(source.read(1, window=window)[None] == span_values)

        sized = _without_wrong_sizes(scene, constraints, owned, strips, valid_size)
        for window in strips:
            values = source.read(1, window=window)
            values[(values != NODATA) & ~sized(window).any(axis=0)] = 0
            out.write(values, 1, window=window)
    composed.unlink()


def _without_wrong_sizes(
    scene: Scene,
    constraints: Sequence[Constraints],
    masks: StripMasks,
    strips: Sequence[Window],
    valid_size: float,
) -> StripMasks:
    """The masks without the regions that break their size constraints.

    Takes one sweep over the scene, if any mask constrains the sizes of its regions.

    Args:
        scene: gives the areas of pixels.
        constraints: of each mask.
        masks: before.
        strips: that the masks will be asked for.
        valid_size: of the valid scene in square metres, in pixels without map units.
    """
    numbers = [number for number, limits in enumerate(constraints) if asks_regions(limits)]
    if not numbers:
        return masks
    areas = scene.pixel_area_m2()
    sweeps = {number: RegionSweep() for number in numbers}
    for window in strips:
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        values = {} if areas is None else {"area_m2": areas[rows, None]}
        strip = masks(window)
        for number in numbers:
            sweeps[number].add(strip[number], values)
    kept_labels = {}
    for number in numbers:
        table = sweeps[number].finish()
        kept_labels[number] = kept_regions(constraints[number], table, valid_size)[table.final]
    second_sweeps = {number: RegionSweep() for number in numbers}

    def filtered(window: Window) -> NDArray[np.bool_]:
        strip = masks(window)
        for number in numbers:
            labels = second_sweeps[number].add(strip[number])
            strip[number] = kept_labels[number][labels]
        return strip

    return filtered


def _valid_size(scene: Scene, source: Any, strips: Sequence[Window]) -> float:
    """Size of the valid scene: square metres, pixels without map units.

    Args:
        scene: gives the areas of pixels.
        source: open probability raster.
        strips: of the scene.
    """
    areas = scene.pixel_area_m2()
    size = 0.0
    for window in strips:
        valid = (source.read(1, window=window) != NODATA).sum(axis=1)
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        size += float(valid.sum() if areas is None else valid @ areas[rows])
    return size


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
