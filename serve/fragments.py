"""What the page shows of a scene and its answer: HTML fragments that hold everything they need, pictures included."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spex.evidence.classes import classes
from spex.postprocess.facts import MaskFacts, fact_text
from spex.raster.scene import Pixels, Scene
from spex.results.extraction import Extraction
from spex.results.rendering import (
    STRETCH,
    casing_colour,
    inner_edge,
    outer_edge,
    rgb,
    rgb_image,
)

_DRAWN = (
    900  # small scenes are enlarged to about this many pixels a side, so that outlines stay thin
)
_FILL, _OUTLINE = 100, 255  # opacity, of 255
_OUTLINE_PX = 2
_CASING_PX = 1

EMPTY = (
    '<div class="spex-empty"><p><strong>No scene is open.</strong></p>'
    "<p>Upload a GeoTIFF, or take the Sentinel-2 sample, then ask what covers the land.</p></div>"
)


def picture(
    pixels: Pixels, extraction: Extraction | None = None, values: NDArray[np.uint8] | None = None
) -> str:
    """The scene as the eye sees it, and each mask as a layer that can be switched off in the legend.

    Args:
        values: the mask raster at the size of ``pixels``, ``(h, w)``.
    """
    image, words = rgb_image(pixels)
    height, width = image.shape[:2]
    times = max(1, round(_DRAWN / max(height, width)))
    layers = [_img(_jpeg(image), "image/jpeg", f"the scene, {words}")]
    legend = []
    facts = extraction.facts if extraction is not None and values is not None else ()
    for one in facts:
        assert values is not None
        colour = classes()[one.span.class_name].colour
        layer = _layer((values == one.value).repeat(times, 0).repeat(times, 1), colour)
        layers.append(_img(layer, "image/png", f"mask of {one.span.phrase}", number=one.value))
        legend.append(
            f'<label><input type="checkbox" checked data-mask="{one.value}" onchange="{_SWITCH}">'
            f'<span class="spex-swatch" style="background:{colour}"></span>{escape(one.span.phrase)}</label>'
        )
    if legend:
        legend.append(
            f'<label class="spex-opacity">opacity <input type="range" min="0" max="1" step="0.05" value="1"'
            f' aria-label="opacity of the masks" oninput="{_FADE}"></label>'
        )
    pixelated = " spex-pixelated" if times > 1 else ""
    return (
        f'<figure class="spex-figure" style="--ratio:{width / height:.4f}">'
        f'<div class="spex-stage{pixelated}">{"".join(layers)}</div>'
        f'<figcaption><span class="spex-legend">{"".join(legend)}</span>'
        f'<span class="spex-note">{escape(words)}, {STRETCH}</span></figcaption></figure>'
    )


_SWITCH = (
    "this.closest('figure').querySelector('img[data-mask=&quot;' + this.dataset.mask + '&quot;]')"
    ".style.visibility = this.checked ? 'visible' : 'hidden'"
)
_FADE = "this.closest('figure').style.setProperty('--opacity', this.value)"


def facts_table(facts: Sequence[MaskFacts]) -> str:
    """The measured facts of each mask."""
    if not facts:
        return ""
    names = {
        "area": "area",
        "share": "share",
        "count": "regions",
        "largest": "largest",
        "location": "where",
    }
    head = "".join(
        f"<th>{title}</th>"
        for title in ("", *names.values(), "probability", "index inside / outside")
    )
    rows = []
    for one in facts:
        colour = classes()[one.span.class_name].colour
        cells = [fact_text(one, name, None) for name in (*names, "probability")]
        indices = "; ".join(
            f"{name} {_number(value.inside)} / {_number(value.outside)}"
            for name, value in one.evidence.items()
        )
        rows.append(
            f'<th scope="row"><span class="spex-swatch" style="background:{colour}"></span>'
            f"{escape(one.span.phrase)}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, indices))
        )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="spex-facts"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def scene_line(scene: Scene, overview: Pixels) -> str:
    """What was opened, in one line."""
    gsd = f" of {scene.gsd_m:.4g} m" if scene.gsd_m else ""
    facts = [
        f"{len(scene.bands)} bands ({_listed([band.name for band in scene.bands])})",
        f"{scene.width:,} × {scene.height:,} pixels{gsd}",
        scene.crs.to_string() if scene.crs else "no CRS",
    ]
    if scene.sensor:
        facts.append(scene.sensor.title)
    if not overview.valid.all():
        facts.append(f"{1 - float(overview.valid.mean()):.1%} no data")
    return f'<div class="spex-scene"><strong>{escape(scene.path)}</strong> {escape(" · ".join(facts))}</div>'


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
    layer.save(stream, "PNG", transparency=bytes([0, _FILL, _OUTLINE, _OUTLINE]))
    return stream.getvalue()


def _img(data: bytes, kind: str, words: str, **attributes: Any) -> str:
    number = f' data-mask="{attributes["number"]}"' if attributes else ""
    return f'<img{number} alt="{escape(words)}" src="data:{kind};base64,{base64.b64encode(data).decode()}">'
