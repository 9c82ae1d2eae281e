"""Probabilities to the one mask raster: threshold, constraints, and who owns a pixel that several masks want.

Order: threshold 0.5; pixel constraints (index, part of the scene, excluded classes); sizes of regions; then each pixel
goes to one mask, and sizes are checked again on what is left, so that every region in the file meets its constraints.
A pixel that several masks want goes to the child class before its parent, to the more constrained of two spans of one
class, then to the higher probability.
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
from spex.query.answer_markup import Answer, Span, excluded_classes
from spex.raster.damaged_scene import read_around_damage
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA, row_strips, working_profile

Masks = Callable[[Window], NDArray[np.bool_]]  # a strip's masks, (n, h, w)


def narrower(inner: Span, outer: Span) -> bool:
    """Whether a pixel that both spans want belongs to ``inner``: a descendant class, or one asked more closely."""
    if inner.class_name == outer.class_name:
        return len(inner.constraints.to_dict()) > len(outer.constraints.to_dict())
    name = classes()[inner.class_name].parent
    while name is not None and name != outer.class_name:
        name = classes()[name].parent
    return name is not None


def write_mask(
    frame: Frame, answer: Answer, probability: Path, path: Path, never: frozenset[int] = frozenset()
) -> None:
    """Write the mask raster (0 background, 1..n the spans in order, 255 nodata) from the probability raster.

    Spans in ``never`` stay empty: their class cannot be told in this scene.
    """
    scene, spans = frame.scene, answer.spans
    away = excluded_classes(answer)
    conditions = any(span.constraints.index for span in spans)
    planes = len(spans) + len(away) + 4 + (len(scene.bands) if conditions else 0)
    profile = working_profile(scene, 1)
    with rasterio.open(probability) as source:

        def wanted(window: Window) -> NDArray[np.bool_]:
            levels = source.read(window=window)
            masks = (levels[: len(spans)] >= HALF_PROBABILITY) & (levels[:1] != NODATA)
            pixels = read_around_damage(scene, window, levels[0] != NODATA) if conditions else None
            for number, (mask, span) in enumerate(zip(masks, spans, strict=True)):
                mask &= number not in never
                if span.constraints.where:
                    mask &= frame.part(span.constraints.where, window)
                if span.constraints.index and pixels is not None:
                    mask &= meets_index(span.constraints, pixels)
                for name in span.constraints.exclude:
                    mask &= levels[len(spans) + away.index(name)] < HALF_PROBABILITY
            return masks

        sized = _of_size(frame, spans, wanted, planes)
        composed = path.with_suffix(".composed.tif")
        with rasterio.open(composed, "w", **profile) as out:
            for window in row_strips(scene.height, scene.width, planes):
                levels = source.read(list(range(1, len(spans) + 1)), window=window)
                values = _owner(sized(window), levels, spans)
                out.write(
                    np.where(levels[0] == NODATA, NODATA, values).astype(np.uint8), 1, window=window
                )
    if len(spans) == 1 or not any(asks_regions(span.constraints) for span in spans):
        composed.replace(path)
        return
    values_of = np.arange(1, len(spans) + 1)[:, None, None]
    with rasterio.open(composed) as source, rasterio.open(path, "w", **profile) as out:
        sized = _of_size(
            frame, spans, lambda window: source.read(1, window=window)[None] == values_of, planes
        )
        for window in row_strips(scene.height, scene.width, planes):
            values = source.read(1, window=window)
            dropped = (values > 0) & (values != NODATA) & ~sized(window).any(axis=0)
            out.write(np.where(dropped, 0, values).astype(np.uint8), 1, window=window)
    composed.unlink()


def _of_size(frame: Frame, spans: tuple[Span, ...], masks: Masks, planes: int) -> Masks:
    """The same masks without the regions that break their size constraints; takes one sweep over the scene."""
    asking = [place for place, span in enumerate(spans) if asks_regions(span.constraints)]
    if not asking:
        return masks
    scene, areas = frame.scene, frame.scene.pixel_area_m2()
    sweeps = {place: RegionSweep() for place in asking}
    for window in row_strips(scene.height, scene.width, planes):
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        values = {} if areas is None else {"area_m2": areas[rows, None]}
        strip = masks(window)
        for place in asking:
            sweeps[place].add(strip[place], values)
    tables = {place: sweep.finish() for place, sweep in sweeps.items()}
    kept = {
        place: kept_regions(spans[place].constraints, table)[table.final]
        for place, table in tables.items()
    }
    again = {place: RegionSweep() for place in asking}

    def filtered(window: Window) -> NDArray[np.bool_]:
        strip = masks(window)
        for place in asking:
            strip[place] = kept[place][again[place].add(strip[place])]
        return strip

    return filtered


def _owner(
    masks: NDArray[np.bool_], levels: NDArray[np.uint8], spans: tuple[Span, ...]
) -> NDArray[np.uint8]:
    """One value 0..n per pixel from masks ``(n, h, w)`` that may overlap."""
    if len(spans) == 1:
        return masks[0].astype(np.uint8)
    own = masks.copy()
    for outer, broad in enumerate(spans):
        for inner, narrow in enumerate(spans):
            if narrower(narrow, broad):
                own[outer] &= ~masks[inner]
    best = np.where(own, levels.astype(np.int16), -1).argmax(axis=0)
    return np.where(own.any(axis=0), best + 1, 0).astype(np.uint8)
