"""The pixels that may belong to each mask: likely enough, and meeting its pixel constraints."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.postprocess.constraint_masks import Frame, meets_index
from spex.postprocess.distances import DISTANCE_PLANES, MaskDistances
from spex.query.answer_markup import Answer, other_classes
from spex.query.constraints import Distance
from spex.raster.damaged_scene import read_around_damage
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA

StripMasks = Callable[[Window], NDArray[np.bool_]]
"""The masks ``(n, h, w)`` of a strip. Strips are asked for in order, each once per sweep."""


@contextmanager
def allowed_pixels(
    frame: Frame,
    answer: Answer,
    source: Any,
    strips: Sequence[Window],
    never: Collection[int],
    folder: Path,
) -> Iterator[StripMasks]:
    """Pixels of each span that reach probability 0.5 and meet its pixel constraints.

    These are conditions on index values, parts of the scene, classes taken away, and distances from
    other classes.

    Args:
        frame: extent of the scene's valid pixels.
        answer: its spans are the masks, which may overlap.
        source: open raster of a band per span, then one per class of ``other_classes``.
        strips: the windows that masks are asked for, from the top down.
        never: numbers of the bands, from 0, that count as empty.
        folder: for temporary files.
    """
    band_of = _bands(answer)
    distances = {}
    with ExitStack() as stack:
        for name in dict.fromkeys(distance.class_name for distance in _distances(answer)):
            store = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            pixel_sizes = frame.scene.pixel_sizes_m()
            assert pixel_sizes is not None, "check() refuses distances without map units"

            def found(window: Window, band: int = band_of[name]) -> NDArray[np.bool_]:
                return _likely(source.read([band + 1], window=window), [band], never)[0]

            distances[name] = MaskDistances(pixel_sizes, found, strips, store)

        def masks(window: Window) -> NDArray[np.bool_]:
            levels = source.read(window=window)
            likely = _likely(levels, range(len(levels)), never)
            return _cut(frame, answer, window, likely, levels[0] != NODATA, distances)

        yield masks


def planes_held(frame: Frame, answer: Answer) -> int:
    """float32 planes that are held of a strip while an answer's masks are made."""
    planes = len(answer.spans) + len(other_classes(answer)) + 4
    if any(span.constraints.index for span in answer.spans):
        planes += len(frame.scene.bands)
    return planes + DISTANCE_PLANES * bool(_distances(answer))


def _cut(
    frame: Frame,
    answer: Answer,
    window: Window,
    likely: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    distances: Mapping[str, MaskDistances],
) -> NDArray[np.bool_]:
    """The masks of a strip cut to their pixel constraints, ``(n, h, w)``.

    Args:
        frame: extent of the scene's valid pixels.
        answer: its spans are the masks.
        window: of the strip.
        likely: where each band of the probability raster reaches 0.5, ``(bands, h, w)``.
        valid: pixels with data, ``(h, w)``.
        distances: from the mask of each class that distances are measured from.
    """
    spans = answer.spans
    band_of = _bands(answer)
    masks = likely[: len(spans)].copy()
    pixels = None
    if any(span.constraints.index for span in spans):
        pixels = read_around_damage(frame.scene, window, valid)
    within: dict[Distance, NDArray[np.bool_]] = {}
    for name, measured in distances.items():
        down_columns = measured.column_distances(window, likely[band_of[name]])
        for distance in _distances(answer):
            if distance.class_name == name:
                within[distance] = measured.within(window, down_columns, distance.metres)
    for mask, span in zip(masks, spans, strict=True):
        constraints = span.constraints
        if constraints.where:
            mask &= frame.parts(constraints.where, window)
        if constraints.index and pixels is not None:
            mask &= meets_index(constraints, pixels)
        for name in constraints.exclude:
            mask &= ~likely[band_of[name]]
        for distance in constraints.near:
            mask &= within[distance]
        for distance in constraints.far:
            mask &= ~within[distance]
    return masks


def _likely(
    levels: NDArray[np.uint8], bands: Sequence[int], never: Collection[int]
) -> NDArray[np.bool_]:
    """Where bands of the probability raster reach 0.5, ``(n, h, w)``.

    Args:
        levels: of these bands, ``(n, h, w)``.
        bands: their numbers, from 0.
        never: numbers of bands that count as empty.
    """
    likely = np.asarray((levels >= HALF_PROBABILITY) & (levels != NODATA))
    likely[np.isin(bands, list(never))] = False
    return likely


def _bands(answer: Answer) -> dict[str, int]:
    """Number of the band, from 0, of each class of ``other_classes``."""
    return {name: len(answer.spans) + i for i, name in enumerate(other_classes(answer))}


def _distances(answer: Answer) -> tuple[Distance, ...]:
    """All distances that spans ask for, each once."""
    distances: list[Distance] = []
    for span in answer.spans:
        distances += (*span.constraints.near, *span.constraints.far)
    return tuple(dict.fromkeys(distances))
