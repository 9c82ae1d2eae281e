"""A contact sheet of random records: pictures of each beside its dialogue, as PNG or HTML.

The HTML is self-contained and shows every script; the PNG shows Latin letters only.
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

from instruction_data.review.panels import legend, panels
from instruction_data.review.record_files import (
    exchanges,
    record_count,
    record_files,
    rows,
    survey_file,
)
from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.errors import OutputError, QueryError, RecordError
from spex.postprocess.answer_text import write_answer
from spex.query.answer_markup import Answer, Span, parse_answer
from spex.query.wording import constraints_text
from spex.records import SpieRecord, parse_record
from spex.results.picture_sheet import CAPTION_HEIGHT, GAP, Panel, paste_panels

_SIDE = 240  # of a picture in pixels
_TEXT_WIDTH = 560
_DARK = (30, 30, 30)
_GREY = (110, 110, 110)
_PROMINENT = ("Q", "filled", "refused")  # speakers whose lines are dark

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class SheetEntry:
    """One record on the sheet.

    Args:
        title: id and split of the record.
        details: source, sensor, size and place.
        pictures: pictures of the chip.
        lines: speaker and text of each line beside the pictures.
        legend: colour and text of each class.
    """

    title: str
    details: str
    pictures: list[Panel]
    lines: list[tuple[str, str]]
    legend: list[tuple[str, str]]


def contact_sheet(path: str | Path, target: str | Path, count: int = 5, seed: int = 0) -> int:
    """Draw random dialogues of a built folder (surveys, if there are none).

    Args:
        path: a built folder, or one file of it.
        target: file to write, ``.png`` or ``.html``.
        count: number of records.
        seed: chooses the records.

    Returns:
        The number of records drawn.

    Raises:
        OutputError: ``target`` is neither PNG nor HTML, or cannot be written.
        RecordError: there are no records, or the survey of a dialogue's chip is missing.
    """
    target = Path(target)
    if target.suffix.lower() not in (".png", ".html"):
        raise OutputError(f"{target} is neither .png nor .html; choose one of them for the sheet")
    entries = [_entry(record, survey) for record, survey in _sample(Path(path), count, seed)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() == ".html":
            target.write_text(_html(entries), encoding="utf-8")
        else:
            _png(entries).save(target, optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write {target} ({error}); name another file") from error
    return len(entries)


def _sample(path: Path, count: int, seed: int) -> Iterator[tuple[SpieRecord, SpieRecord]]:
    """Random records, each with the survey of its chip."""
    dialogue_files = record_files(path, "dialogue")
    if any(record_count(file) for file in dialogue_files):
        files = dialogue_files
    else:
        files = [*dialogue_files, *record_files(path, "survey")]
    sizes = [record_count(file) for file in files]
    total = sum(sizes)
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    first = 0
    for file, size in zip(files, sizes, strict=True):
        numbers = {int(number - first) for number in chosen if first <= number < first + size}
        first += size
        if not numbers:
            continue
        for number, row in enumerate(rows(file)):
            if number in numbers:
                record = parse_record(row)
                yield record, _survey_of(record, file)


def _survey_of(record: SpieRecord, file: Path) -> SpieRecord:
    """The survey of a record's chip, with the full path of the raster."""
    surveys = survey_file(file) if record.kind == "dialogue" else file
    if not surveys.exists():
        raise RecordError(
            f"{file.name} has no surveys beside it ({surveys.name}); give the whole built folder"
        )
    is_chip = pc.field("scene", "path") == record.scene.path
    survey_rows = pq.read_table(surveys, filters=is_chip).to_pylist()
    if not survey_rows:
        raise RecordError(
            f"record {record.id!r}: {surveys.name} has no survey of its chip; build the data again"
        )
    survey = parse_record(survey_rows[0])
    raster = str(file.parent / survey.scene.path)
    return survey.model_copy(update={"scene": survey.scene.model_copy(update={"path": raster})})


def _entry(record: SpieRecord, survey: SpieRecord) -> SheetEntry:
    chip = LabelledChip(survey)
    title = f"{record.id} [{record.split}]"
    details = _details(record, chip)
    label_line = ("", f"labels: {survey.provenance.get('spans', 'not stated')}")
    chip_legend = legend(chip, survey)
    if record.kind == "survey":
        return SheetEntry(title, details, panels(chip, survey), [label_line], chip_legend)
    dialogue = exchanges([turn.model_dump() for turn in record.turns])
    queries = " ".join(query for query, _ in dialogue)
    answer = parse_answer(dialogue[-1][1])
    expected = None
    lines: list[tuple[str, str]] = []
    for query, answer_text in dialogue:
        lines += [("Q", query), ("A", answer_text)]
    if answer.spans:
        lines.append(("asked", "; ".join(_span_words(span) for span in answer.spans)))
        try:
            expected = chip.carry_out(answer)
            lines.append(("filled", _filled(answer, expected, queries)))
        except QueryError as error:
            lines.append(("refused", str(error)))
    origin = [record.provenance.get(key, "") for key in ("language", "wording", "turns")]
    evidence = "with evidence" if record.prior else "without evidence"
    lines.append(("", "; ".join([evidence, *filter(None, origin)])))
    lines.append(label_line)
    pictures = panels(chip, survey, queries, answer, expected)
    return SheetEntry(title, details, pictures, lines, chip_legend)


def _filled(answer: Answer, expected: ExpectedAnswer, queries: str) -> str:
    """The answer's text with its slots filled from the expected masks."""
    text, _ = write_answer(answer, expected.facts, expected.absences, queries)
    return text


def _details(record: SpieRecord, chip: LabelledChip) -> str:
    height, width = chip.pixels.valid.shape
    size = f"{width} x {height} px"
    if record.gsd_m:
        size += f" of {record.gsd_m:g} m"
    return (
        f"{record.source}; {record.sensor}, {len(record.bands)} bands, {record.level}, {size}; "
        f"place {record.place}"
    )


def _span_words(span: Span) -> str:
    words = constraints_text(span.constraints)
    return f"{span.class_name} ({words})" if words else span.class_name


def _png(entries: list[SheetEntry]) -> Image.Image:
    small = ImageFont.load_default(13)
    large = ImageFont.load_default(15)
    blocks = [_block(entry, small, large) for entry in entries]
    width = max(block.width for block in blocks)
    canvas = Image.new("RGB", (width, sum(block.height for block in blocks)), "white")
    top = 0
    for block in blocks:
        canvas.paste(block, (0, top))
        top += block.height
    return canvas


def _block(entry: SheetEntry, small: Font, large: Font) -> Image.Image:
    """One record of the PNG: title, pictures with captions, lines and legend."""
    lines = _wrapped(entry)
    left = 4 * (_SIDE + GAP) + GAP
    legend_height = 18 * -(-len(entry.legend) // 2)
    height = max(_SIDE + CAPTION_HEIGHT + 40, 34 + 17 * len(lines) + legend_height + 20)
    block = Image.new("RGB", (left + _TEXT_WIDTH, height), "white")
    pen = ImageDraw.Draw(block)
    pen.line((0, 0, left + _TEXT_WIDTH, 0), fill=(200, 200, 200))
    pen.text((GAP, 7), entry.title, fill=_DARK, font=large)
    details_left = GAP + pen.textlength(entry.title, large) + 16
    pen.text((details_left, 9), entry.details, fill=_GREY, font=small)
    paste_panels(block, entry.pictures, (GAP, 32), _SIDE)
    for row, (line, colour) in enumerate(lines):
        pen.text((left, 32 + 17 * row), line, fill=colour, font=small)
    for index, (swatch, words) in enumerate(entry.legend):
        x = left + index % 2 * 270
        y = 42 + 17 * len(lines) + 18 * (index // 2)
        pen.rectangle((x, y, x + 12, y + 12), fill=swatch)
        pen.text((x + 18, y - 1), words, fill=_DARK, font=small)
    return block


def _wrapped(entry: SheetEntry) -> list[tuple[str, tuple[int, int, int]]]:
    """The lines of a record, wrapped, each with its colour."""
    wrapped: list[tuple[str, tuple[int, int, int]]] = []
    for speaker, text in entry.lines:
        colour = _DARK if speaker in _PROMINENT else _GREY
        text = _latin(text)
        line = f"{speaker}: {text}" if speaker else text
        wrapped += [(part, colour) for part in textwrap.wrap(line, 84, subsequent_indent="   ")]
    return wrapped


def _latin(text: str) -> str:
    """What the built-in font can write: letters without accents, "?" for other scripts."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode()


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>SPEX instruction data</title><style>
body {{ font: 15px/1.45 sans-serif; margin: 1.5em; color: #1e1e1e; }}
section {{ border-top: 1px solid #ccc; padding: .8em 0; }}
h2 {{ font-size: 1em; margin: 0 0 .5em; }}
.row {{ display: flex; flex-wrap: wrap; gap: .8em; }}
figure {{ margin: 0; width: 240px; }}
img {{ width: 240px; image-rendering: pixelated; }}
figcaption, small, .faint {{ color: #6e6e6e; font-size: 13px; }}
.lines {{ flex: 1; min-width: 24em; }}
p {{ margin: 0 0 .4em; }}
i {{ display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .8em; }}
</style>{body}</html>
"""


def _html(entries: list[SheetEntry]) -> str:
    return _PAGE.format(body="".join(map(_section, entries)))


def _section(entry: SheetEntry) -> str:
    title = html.escape(entry.title)
    details = html.escape(entry.details)
    figures = "".join(map(_figure, entry.pictures))
    lines = "".join(_paragraph(speaker, text) for speaker, text in entry.lines)
    swatches = "".join(
        f'<i style="background:{colour}"></i>{html.escape(words)}' for colour, words in entry.legend
    )
    return (
        f"<section><h2>{title} <small>{details}</small></h2>"
        f'<div class="row">{figures}<div class="lines">{lines}<p>{swatches}</p></div></div>'
        "</section>\n"
    )


def _figure(panel: Panel) -> str:
    with io.BytesIO() as stream:
        Image.fromarray(panel.image).save(stream, "PNG", optimize=True)
        data = base64.b64encode(stream.getvalue()).decode()
    caption = html.escape(panel.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _paragraph(speaker: str, text: str) -> str:
    style = "" if speaker in _PROMINENT else ' class="faint"'
    label = f"<b>{speaker}</b> " if speaker else ""
    return f"<p{style}>{label}{html.escape(text)}</p>"
