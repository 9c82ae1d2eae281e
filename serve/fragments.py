"""HTML fragments of the page: the scene with its masks, the facts, the scene's line.

Every fragment holds all that it needs, pictures included.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spex.evidence.classes import land_class
from spex.postprocess.fact_text import fact_text
from spex.postprocess.facts import MaskFacts
from spex.raster.scene import Pixels, Scene
from spex.results.rendering import (
    STRETCH,
    casing_colour,
    inner_edge,
    outer_edge,
    rgb,
    rgb_image,
)

# Small scenes are enlarged to about this many pixels a side, so that outlines stay thin.
_ENLARGED_PX = 900
_FILL_OPACITY = 100  # of 255
_OUTLINE_OPACITY = 255
_OUTLINE_PX = 2
_CASING_PX = 1

EMPTY = (
    '<div class="spex-empty"><p><strong>No scene is open.</strong></p>'
    "<p>Upload a GeoTIFF, or take the Sentinel-2 sample, then ask what covers the land.</p></div>"
)


def picture(
    pixels: Pixels, facts: Sequence[MaskFacts] = (), mask: NDArray[np.uint8] | None = None
) -> str:
    """The scene in colour, and each mask as a layer that the legend switches on and off.

    Args:
        pixels: overview of the scene.
        facts: one per mask.
        mask: (h, w), values of the mask raster at the size of ``pixels``; None without masks.
    """
    image, description = rgb_image(pixels)
    height, width = image.shape[:2]
    factor = max(1, round(_ENLARGED_PX / max(height, width)))
    layers = [_img(_jpeg(image), "image/jpeg", f"the scene, {description}")]
    legend = []
    for mask_facts in facts:
        assert mask is not None, "facts come with their mask"
        colour = land_class(mask_facts.span.class_name).colour
        phrase = mask_facts.span.phrase
        enlarged = (mask == mask_facts.value).repeat(factor, 0).repeat(factor, 1)
        layer = _layer(enlarged, colour)
        layers.append(_img(layer, "image/png", f"mask of {phrase}", mask_facts.value))
        legend.append(_switch(mask_facts.value, colour, phrase))
    if legend:
        legend.append(_OPACITY)
    pixelated = " spex-pixelated" if factor > 1 else ""
    return (
        f'<figure class="spex-figure" style="--ratio:{width / height:.4f}">'
        f'<div class="spex-stage{pixelated}">{"".join(layers)}</div>'
        f'<figcaption><span class="spex-legend">{"".join(legend)}</span>'
        f'<span class="spex-note">{escape(description)}, {STRETCH}</span></figcaption></figure>'
    )


_SWITCH = (
    "this.closest('figure').querySelector('img[data-mask=&quot;' + this.dataset.mask + '&quot;]')"
    ".style.visibility = this.checked ? 'visible' : 'hidden'"
)
_FADE = "this.closest('figure').style.setProperty('--opacity', this.value)"
_OPACITY = (
    '<label class="spex-opacity">opacity <input type="range" min="0" max="1" step="0.05"'
    f' value="1" aria-label="opacity of the masks" oninput="{_FADE}"></label>'
)


def _switch(value: int, colour: str, phrase: str) -> str:
    """The entry of a mask in the legend."""
    return (
        f'<label><input type="checkbox" checked data-mask="{value}" onchange="{_SWITCH}">'
        f"{_swatch(colour)}{escape(phrase)}</label>"
    )


def _swatch(colour: str) -> str:
    return f'<span class="spex-swatch" style="background:{colour}"></span>'


_COLUMNS = {
    "area": "area",
    "share": "share",
    "count": "regions",
    "largest": "largest",
    "location": "where",
    "probability": "probability",
}
"""Facts of the table with the titles of their columns."""


def facts_table(facts: Sequence[MaskFacts]) -> str:
    """The measured facts of each mask, a row per mask; nothing if there is no mask."""
    if not facts:
        return ""
    titles = ("", *_COLUMNS.values(), "index inside / outside")
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{_facts_row(mask_facts)}</tr>" for mask_facts in facts)
    return (
        f'<div class="spex-facts"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _facts_row(mask_facts: MaskFacts) -> str:
    cells = [fact_text(mask_facts, name, None) for name in _COLUMNS]
    indices = []
    for name, index_facts in mask_facts.evidence.items():
        inside = _number(index_facts.inside)
        indices.append(f"{name} {inside} / {_number(index_facts.outside)}")
    cells.append("; ".join(indices))
    swatch = _swatch(land_class(mask_facts.span.class_name).colour)
    heading = f'<th scope="row">{swatch}{escape(mask_facts.span.phrase)}</th>'
    return heading + "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def scene_line(scene: Scene, overview: Pixels) -> str:
    """The open scene in one line: file, bands, size, CRS, sensor, nodata."""
    gsd = f" of {scene.gsd_m:.4g} m" if scene.gsd_m else ""
    parts = [
        f"{len(scene.bands)} bands ({_listed([band.name for band in scene.bands])})",
        f"{scene.width:,} × {scene.height:,} pixels{gsd}",
        scene.crs.to_string() if scene.crs else "no CRS",
    ]
    if scene.sensor:
        parts.append(scene.sensor.title)
    if not overview.valid.all():
        parts.append(f"{1 - float(overview.valid.mean()):.1%} nodata")
    name = escape(scene.path)
    return f'<div class="spex-scene"><strong>{name}</strong> {escape(" · ".join(parts))}</div>'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:3])} ... {names[-1]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _layer(mask: NDArray[np.bool_], colour: str) -> bytes:
    """A mask as a picture of four colours: nothing, a tint, an outline, and a casing around it."""
    levels = mask.astype(np.uint8)
    levels[inner_edge(mask, _OUTLINE_PX)] = 2
    levels[outer_edge(mask, _CASING_PX)] = 3
    layer = Image.fromarray(levels)
    layer.putpalette([0, 0, 0, *rgb(colour), *rgb(colour), *casing_colour(colour)])
    stream = io.BytesIO()
    opacities = bytes([0, _FILL_OPACITY, _OUTLINE_OPACITY, _OUTLINE_OPACITY])
    layer.save(stream, "PNG", transparency=opacities)
    return stream.getvalue()


def _img(data: bytes, media_type: str, description: str, mask: int | None = None) -> str:
    """An ``img`` element with its data inside; ``mask`` is the value of the mask that it shows."""
    attribute = "" if mask is None else f' data-mask="{mask}"'
    source = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return f'<img{attribute} alt="{escape(description)}" src="{source}">'
