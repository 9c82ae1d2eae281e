"""The explanation of a result in Markdown: a report of half a page, in the request's language.

What was asked and executed, and for each mask how much there is and where, what speaks for it and
against it, how sure it is, and what the image cannot show.
"""

from __future__ import annotations

from pathlib import PurePath

from spex import __version__
from spex.postprocess.fact_text import number_text_short
from spex.postprocess.mask_text import Image, capitalised, map_line, mask_paragraph
from spex.query.answers import ignored_text, remark_text
from spex.query.constraints import Constraints
from spex.query.reading import Reading
from spex.query.wording import class_title, listed, paragraph, wording
from spex.results.image_date import image_date
from spex.results.query_result import QueryResult
from spex.sensors import role_weights

HEADER_PARAGRAPHS = 3
"""Title, image and query: their numbers are names and dates, which no mask measures."""


def explanation(result: QueryResult) -> str:
    """The text of ``explanation.md``."""
    language = result.reading.language
    words = wording(language)
    scene = result.scene
    parts = [
        f"# {_title(result, language)}",
        _made(result, language),
        words["report"]["asked"].format(query=words["quotes"].format(_plain(result.query))),
    ]
    if result.refused is not None:
        return _text([*parts, _plain(result.refused)])
    parts += _assumptions(result.reading)
    image = Image(tuple(role_weights(scene.bands)), result.overview.level, scene.gsd_m)
    if result.reading.whole_scene:
        parts.append(_without_warning(result))
        lines = [f"- {map_line(facts, image, language)}" for facts in result.facts]
        parts.append("\n".join(lines))
    else:
        parts += [mask_paragraph(facts, image, language) for facts in result.facts]
    parts += _absent(result, language)
    parts += _closing(result, language)
    parts += _failed(result, language)
    return _text(parts)


def _text(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(result: QueryResult, language: str) -> str:
    words = wording(language)["report"]
    scene = PurePath(result.scene.path).name
    if result.refused is not None or not result.facts:
        return str(words["title_none"].format(scene=scene))
    if result.reading.whole_scene:
        return str(words["title_map"].format(scene=scene))
    phrases = list(dict.fromkeys(facts.span.phrase for facts in result.facts))
    what = capitalised(_plain(listed(phrases, language)))
    return str(words["title"].format(what=what, scene=scene))


def _made(result: QueryResult, language: str) -> str:
    """The image, its date, sensor, bands and pixels, and what read it."""
    words = wording(language)["report"]
    scene = result.scene
    date = image_date(scene.path)
    bands = len(scene.bands)
    parts = [words["image_of"].format(date=date.isoformat()) if date else words["image"]]
    if scene.sensor:
        parts.append(scene.sensor.title)
    parts.append(words["one_band"] if bands == 1 else words["bands"].format(count=bands))
    if scene.gsd_m:
        parts.append(words["pixels"].format(gsd=number_text_short(scene.gsd_m, language)))
    name, digest = result.model
    method = words["model"].format(name=name, weights=digest[:12]) if digest else words["rules"]
    image = capitalised(wording(language)["lists"]["comma"].join(parts))
    return str(words["made"].format(image=image, version=__version__, method=method))


def _assumptions(reading: Reading) -> list[str]:
    """The warning about words that were not understood, and what was assumed."""
    language = reading.language
    texts = []
    if reading.ignored:
        texts.append(f"**{_plain(ignored_text(reading.ignored, language))}**")
    remarks = [_plain(remark_text(remark, language)) for remark in reading.remarks]
    texts.append(paragraph(dict.fromkeys(remarks), language))
    return texts


def _without_warning(result: QueryResult) -> str:
    """The answer of a whole scene without the warning, which stands above it already."""
    if not result.reading.ignored:
        return result.answer
    return result.answer.partition("\n")[2]


def _absent(result: QueryResult, language: str) -> list[str]:
    if not result.absent:
        return []
    words = wording(language)["report"]
    lines = []
    for name, reason in result.absent:
        title = f"**{capitalised(class_title(name, language))}**"
        lines.append(f"- {words['map_line'].format(title=title, clauses=reason)}")
    return [f"## {words['absent']}", "\n".join(lines)]


def _failed(result: QueryResult, language: str) -> list[str]:
    if not result.failed:
        return []
    words = wording(language)["report"]
    lines = []
    for tile in result.failed:
        rows = f"{tile.row}-{tile.row + tile.height - 1}"
        columns = f"{tile.col}-{tile.col + tile.width - 1}"
        text = words["failed_tile"].format(rows=rows, columns=columns, reason=tile.reason)
        lines.append(f"- {text}")
    return [f"## {words['failed']}", words["failed_note"], "\n".join(lines)]


def _closing(result: QueryResult, language: str) -> list[str]:
    """Notes about the image, in which order constraints apply, and how the numbers came about."""
    words = wording(language)["report"]
    texts = []
    if result.facts and result.overview.level not in ("toa", "surface"):
        texts.append(words["uncalibrated"])
    if any(_needs_order(facts.span.constraints) for facts in result.facts):
        texts.append(words["order"])
    if result.facts:
        texts.append(words["check"])
    # What was not understood stands on top, and a class that no index separates where it is.
    weak = wording(language)["cautions"]["weak"]
    stated_above = {weak.format(phrase=facts.span.phrase) for facts in result.facts}
    if result.reading.ignored:
        stated_above.add(ignored_text(result.reading.ignored, language))
    notes = [f"- {_plain(warning)}" for warning in result.warnings if warning not in stated_above]
    return [*(["\n".join(notes)] if notes else []), paragraph(texts, language)]


def _needs_order(constraints: Constraints) -> bool:
    """Whether some constraints apply to pixels and some to regions."""
    of_regions = (
        constraints.min_area or constraints.max_area or constraints.top or constraints.bottom
    )
    of_pixels = (
        constraints.where,
        constraints.index,
        constraints.exclude,
        constraints.near,
        constraints.far,
    )
    return bool(of_regions) and any(of_pixels)


def _plain(text: str) -> str:
    """A text whose characters are no Markdown."""
    return "".join("\\" + c if c in "\\`*_[]|#~" else c for c in text)
