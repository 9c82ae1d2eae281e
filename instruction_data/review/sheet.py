"""A contact sheet of random records: the pictures of each beside its dialogue, as one PNG or one HTML file.

The HTML holds everything inline and shows every script; the PNG is for a quick look and knows plain letters only.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from instruction_data.review.panels import Panel, legend, panels
from instruction_data.review.record_files import (
    exchanges,
    record_count,
    record_files,
    rows,
    survey_file,
)
from instruction_data.review.targets import LabelledChip
from spex.errors import OutputError, QueryError, RecordError
from spex.postprocess.answer_text import write_answer
from spex.query.answer_markup import parse_answer
from spex.query.wording import constraints_text
from spex.records import SpieRecord, parse_record

_SIDE, _TEXT, _GAP = 240, 560, 12
_INK, _FAINT = (30, 30, 30), (110, 110, 110)


@dataclass(frozen=True)
class SheetEntry:
    """One record on the sheet. ``talk`` holds lines as (who, words)."""

    title: str
    facts: str
    pictures: list[Panel]
    talk: list[tuple[str, str]]
    legend: list[tuple[str, str]]


def contact_sheet(path: str | Path, target: str | Path, count: int = 5, seed: int = 0) -> int:
    """Draw ``count`` random dialogues (surveys, if there are none) of a built folder; return how many were drawn.

    Args:
        path: a built folder, or one file of it.
        target: ``.png`` or ``.html``.
        count: records wanted.
        seed: chooses the records.

    Raises:
        OutputError: ``target`` is neither, or cannot be written.
        RecordError: there are no records, or the survey of a dialogue's chip is missing.
    """
    goal = Path(target)
    if goal.suffix.lower() not in (".png", ".html"):
        raise OutputError(
            f"{goal} is neither .png nor .html; choose one of them for a contact sheet"
        )
    entries = [_entry(record, survey) for record, survey in _random(Path(path), count, seed)]
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        if goal.suffix.lower() == ".html":
            goal.write_text(_html(entries), encoding="utf-8")
        else:
            _png(entries).save(goal, optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write {goal} ({error}); name another file") from error
    return len(entries)


def _random(path: Path, count: int, seed: int) -> Iterator[tuple[SpieRecord, SpieRecord]]:
    """Records chosen at random, each with the survey of its chip."""
    files = [shard for kind in ("dialogue", "survey") for shard in record_files(path, kind)]
    if any(shard.name.startswith("dialogue_") and record_count(shard) for shard in files):
        files = [shard for shard in files if shard.name.startswith("dialogue_")]
    sizes = [record_count(shard) for shard in files]
    chosen = np.random.default_rng(seed).choice(sum(sizes), min(count, sum(sizes)), replace=False)
    for shard, first, size in zip(files, np.cumsum([0, *sizes]), sizes, strict=False):
        own = {int(number - first) for number in chosen if 0 <= number - first < size}
        for number, row in enumerate(rows(shard) if own else ()):
            if number in own:
                record = parse_record(row)
                yield record, _survey(record, shard)


def _survey(record: SpieRecord, shard: Path) -> SpieRecord:
    home = survey_file(shard) if record.kind == "dialogue" else shard
    if not home.exists():
        raise RecordError(
            f"{shard.name} has no surveys beside it ({home.name}); give the whole built folder"
        )
    found = pq.read_table(home, filters=pc.field("scene", "path") == record.scene.path).to_pylist()
    if not found:
        raise RecordError(
            f"record {record.id!r}: {home.name} has no survey of its chip; build the data again"
        )
    survey = parse_record(found[0])
    return survey.model_copy(
        update={
            "scene": survey.scene.model_copy(update={"path": str(shard.parent / survey.scene.path)})
        }
    )


def _entry(record: SpieRecord, survey: SpieRecord) -> SheetEntry:
    chip = LabelledChip(survey)
    height, width = chip.pixels.valid.shape
    size = f"{width} x {height} px" + (f" of {record.gsd_m:g} m" if record.gsd_m else "")
    facts = f"{record.source}; {record.sensor}, {len(record.bands)} bands, {record.level}, {size}; place {record.place}"
    labels = f"labels: {survey.provenance.get('spans', 'not said')}"
    title = f"{record.id} [{record.split}]"
    if record.kind == "survey":
        return SheetEntry(title, facts, panels(chip, survey), [("", labels)], legend(chip, survey))
    talk: list[tuple[str, str]] = []
    said = exchanges([turn.model_dump() for turn in record.turns])
    for query, text in said:
        talk += [("Q", query), ("A", text)]
    answer, target = parse_answer(said[-1][1]), None
    if answer.spans:
        asked = [
            f"{s.class_name}" + (f" ({w})" if (w := constraints_text(s.constraints)) else "")
            for s in answer.spans
        ]
        talk.append(("asked", "; ".join(asked)))
        try:
            target = chip.carry_out(answer)
            filled, _ = write_answer(
                answer, target.facts, target.absences, " ".join(query for query, _ in said)
            )
            talk.append(("filled", filled))
        except QueryError as error:
            talk.append(("refused", str(error)))
    about = [record.provenance.get(key, "") for key in ("language", "wording", "turns")]
    talk.append(
        (
            "",
            "; ".join(
                ["with evidence" if record.prior else "without evidence", *filter(None, about)]
            ),
        )
    )
    talk.append(("", labels))
    pictures = panels(chip, survey, " ".join(query for query, _ in said), answer, target)
    return SheetEntry(title, facts, pictures, talk, legend(chip, survey))


def _scaled(panel: Panel) -> Image.Image:
    height, width = panel.image.shape[:2]
    scale = _SIDE / max(height, width)
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    return Image.fromarray(panel.image).resize(
        (round(width * scale), round(height * scale)), resample
    )


def _png(entries: list[SheetEntry]) -> Image.Image:
    small, large = ImageFont.load_default(13), ImageFont.load_default(15)
    blocks = [_block(entry, small, large) for entry in entries]
    canvas = Image.new(
        "RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), "white"
    )
    top = 0
    for block in blocks:
        canvas.paste(block, (0, top))
        top += block.height
    return canvas


def _block(
    entry: SheetEntry, small: ImageFont.FreeTypeFont, large: ImageFont.FreeTypeFont
) -> Image.Image:
    lines: list[tuple[str, tuple[int, int, int]]] = []
    for who, words in entry.talk:
        colour = _INK if who in ("Q", "filled", "refused") else _FAINT
        words = _plain(words)
        wrapped = textwrap.wrap(f"{who}: {words}" if who else words, 84, subsequent_indent="   ")
        lines += [(line, colour) for line in wrapped]
    left = 4 * (_SIDE + _GAP) + _GAP
    swatches = 18 * -(-len(entry.legend) // 2)
    height = max(_SIDE + 88, 34 + 17 * len(lines) + swatches + 20)
    block = Image.new("RGB", (left + _TEXT, height), "white")
    pen = ImageDraw.Draw(block)
    pen.line((0, 0, left + _TEXT, 0), fill=(200, 200, 200))
    pen.text((_GAP, 7), entry.title, fill=_INK, font=large)
    pen.text(
        (_GAP + pen.textlength(entry.title, large) + 16, 9), entry.facts, fill=_FAINT, font=small
    )
    for place, panel in enumerate(entry.pictures):
        x = _GAP + place * (_SIDE + _GAP)
        block.paste(_scaled(panel), (x, 32))
        for number, line in enumerate(textwrap.wrap(_plain(panel.caption), 38)[:3]):
            pen.text((x, 34 + _SIDE + 15 * number), line, fill=_FAINT, font=small)
    for number, (line, colour) in enumerate(lines):
        pen.text((left, 32 + 17 * number), line, fill=colour, font=small)
    for number, (colour, words) in enumerate(entry.legend):
        x, y = left + number % 2 * 270, 42 + 17 * len(lines) + 18 * (number // 2)
        pen.rectangle((x, y, x + 12, y + 12), fill=colour)
        pen.text((x + 18, y - 1), words, fill=_INK, font=small)
    return block


def _plain(words: str) -> str:
    """What the built-in font can write: letters without their accents, a question mark for other scripts."""
    apart = unicodedata.normalize("NFKD", words.replace("ß", "ss"))
    return (
        "".join(c for c in apart if not unicodedata.combining(c))
        .encode("ascii", "replace")
        .decode()
    )


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SPEX instruction data</title><style>
body {{ font: 15px/1.45 sans-serif; margin: 1.5em; color: #1e1e1e; }}
section {{ border-top: 1px solid #ccc; padding: .8em 0; }} h2 {{ font-size: 1em; margin: 0 0 .5em; }}
.row {{ display: flex; flex-wrap: wrap; gap: .8em; }} figure {{ margin: 0; width: 240px; }}
img {{ width: 240px; image-rendering: pixelated; }} figcaption, small, .faint {{ color: #6e6e6e; font-size: 13px; }}
.talk {{ flex: 1; min-width: 24em; }} p {{ margin: 0 0 .4em; }}
i {{ display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .8em; }}
</style>{body}</html>
"""


def _html(entries: list[SheetEntry]) -> str:
    return _PAGE.format(body="".join(map(_section, entries)))


def _section(entry: SheetEntry) -> str:
    figures = []
    for panel in entry.pictures:
        with io.BytesIO() as stream:
            Image.fromarray(panel.image).save(stream, "PNG", optimize=True)
            data = base64.b64encode(stream.getvalue()).decode()
        caption = html.escape(panel.caption)
        figures.append(f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
                       f"<figcaption>{caption}</figcaption></figure>")  # fmt: skip
    said = []
    for who, words in entry.talk:
        kind = "" if who in ("Q", "filled", "refused") else ' class="faint"'
        said.append(f"<p{kind}>" + (f"<b>{who}</b> " if who else "") + html.escape(words) + "</p>")
    colours = [
        f'<i style="background:{colour}"></i>{html.escape(words)}' for colour, words in entry.legend
    ]
    return (
        f"<section><h2>{html.escape(entry.title)} <small>{html.escape(entry.facts)}</small></h2>"
        f'<div class="row">{"".join(figures)}<div class="talk">{"".join(said)}<p>{"".join(colours)}</p></div></div>'
        "</section>\n"
    )
