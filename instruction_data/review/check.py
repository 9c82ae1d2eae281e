"""Check what records state: schema, rasters, splits, prompts against pixels, answers against masks.

A prompt must follow from the pixels of its chip byte for byte. An answer is carried out on the
survey's masks (``targets``): its slots must be measurable, what is measured must hold when measured
again, its other numbers must come from the query, and its claims in plain words must agree with the
evidence. Violations are collected, not raised.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning

from instruction_data.dialogues.arguments import false_claims
from instruction_data.review.check_report import CheckReport
from instruction_data.review.record_files import record_files, rows, survey_file
from instruction_data.review.remeasure import disagreements
from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.errors import AnswerError, QueryError, RecordError, SpexError
from spex.evidence.classes import classes
from spex.evidence.text import evidence_text
from spex.postprocess.fact_text import fact_text
from spex.query.answer_markup import Answer, fill_slots, parse_answer
from spex.query.numbers import stated_numbers
from spex.query.prompt import query_of_message, user_message
from spex.query.wording import constraints_text
from spex.records import SpieRecord, parse_record


def check(path: str | Path, workers: int = 1) -> CheckReport:
    """Check every record of a built folder.

    Args:
        path: a built folder, or one file of it.
        workers: number of processes.

    Raises:
        RecordError: there are no records.
    """
    start = time.perf_counter()
    report = CheckReport()
    file_pairs = _file_pairs(Path(path))
    if workers > 1 and len(file_pairs) > 1:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for file_report in pool.map(_check_files, *zip(*file_pairs, strict=True)):
                report.merge(file_report)
    else:
        for surveys, dialogues in file_pairs:
            report.merge(_check_files(surveys, dialogues))
    for place, splits in sorted(report.places.items()):
        if len(splits) > 1:
            what = f"place {place!r} is both in train ({splits['train']}) and in val"
            report.add(splits["val"], "place", what)
    report.seconds = time.perf_counter() - start
    return report


def _file_pairs(path: Path) -> list[tuple[Path, Path | None]]:
    """Survey files, each with the file of its dialogues."""
    dialogues = {survey_file(file): file for file in record_files(path, "dialogue")}
    surveys = {*record_files(path, "survey"), *dialogues}
    return [(survey, dialogues.get(survey)) for survey in sorted(surveys)]


def _check_files(surveys: Path, dialogues: Path | None) -> CheckReport:
    report = CheckReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            _check_pair(report, surveys, dialogues)
        except RecordError as error:
            report.add(surveys.name.removeprefix("survey_"), "file", error)
    return report


def _check_pair(report: CheckReport, surveys: Path, dialogues: Path | None) -> None:
    # Dialogues are in the order of their surveys, so that one chip at a time is open.
    dialogue_records = _records(report, dialogues) if dialogues else ()
    groups = groupby(dialogue_records, key=itemgetter(0))
    group = next(groups, None)
    for path, survey in _records(report, surveys):
        chip = _check_survey(report, survey) if survey else None
        if group and group[0] == path:
            for _, record in group[1]:
                if record and survey:
                    _check_dialogue(report, record, survey, chip)
            group = next(groups, None)
    while group:
        _add_without_survey(report, (record for _, record in group[1]), surveys)
        group = next(groups, None)


def _add_without_survey(
    report: CheckReport, records: Iterable[SpieRecord | None], surveys: Path
) -> None:
    for record in records:
        if record:
            what = f"{surveys.name} has no survey of its chip, or not in order"
            report.add(record.id, "survey", what)


def _records(report: CheckReport, file: Path) -> Iterator[tuple[str, SpieRecord | None]]:
    """Raster path and record of every row; None for a row that violates the schema."""
    for row in rows(file):
        path = str(file.parent / row["scene"]["path"])
        try:
            record = parse_record(row)
        except RecordError as error:
            report.add(str(row["id"]), "schema", error)
            yield path, None
            continue
        report.records[record.kind, record.split] += 1
        report.places[record.place].setdefault(record.split, record.id)
        for name in {span.class_name for span in record.spans} - set(classes()):
            report.add(record.id, "class", f"unknown class {name!r}")
        scene = record.scene.model_copy(update={"path": path})
        yield path, record.model_copy(update={"scene": scene})


def _check_survey(report: CheckReport, survey: SpieRecord) -> LabelledChip | None:
    """Check a survey; return its chip, or None if the raster cannot be read."""
    for span in survey.spans:
        if span.mask is None:
            report.add(survey.id, "mask", f"{span.class_name} has no mask")
        elif span.ignore and (span.mask.decode() & span.ignore.decode()).any():
            report.add(survey.id, "mask", f"{span.class_name}: mask and ignore overlap")
    try:
        chip = LabelledChip(survey)
    except SpexError as error:
        report.add(survey.id, "raster", error)
        return None
    if survey.prior != evidence_text(chip.evidence):
        report.add(survey.id, "prior", "the prior is not the evidence text of the chip's pixels")
    return chip


def _check_dialogue(
    report: CheckReport, record: SpieRecord, survey: SpieRecord, chip: LabelledChip | None
) -> None:
    if (record.split, record.place, record.source) != (survey.split, survey.place, survey.source):
        what = "split, place or source differ from those of the chip's survey"
        report.add(record.id, "survey", what)
    queries = [query_of_message(turn.content) for turn in record.turns if turn.role == "user"]
    _check_prompts(report, record, queries, chip)
    answer = None
    answer_texts = [turn.content for turn in record.turns if turn.role == "assistant"]
    for index, text in enumerate(answer_texts):
        try:
            answer = parse_answer(text)
        except AnswerError as error:
            report.add(record.id, "grammar", error)
            return
        for number in invented_numbers(answer, queries[: index + 1]):
            what = f"answer {index + 1} states {number}, which is in neither a slot nor the query"
            report.add(record.id, "number", what)
        if chip is not None:
            for claim in false_claims(text, chip.evidence):
                report.add(record.id, "claim", claim)
    if answer is None:
        return
    if not _has_spans_of(record, answer):
        report.add(record.id, "spans", "the last answer and the spans disagree")
    elif chip is not None and all(span.class_name in classes() for span in record.spans):
        _check_answer(report, record, answer, chip)


def _has_spans_of(record: SpieRecord, answer: Answer) -> bool:
    """Whether the spans of a record are those of its last answer."""
    answer_spans = []
    for span in answer.spans:
        attributes = {key: str(value) for key, value in span.constraints.to_dict().items()}
        answer_spans.append((span.class_name, span.phrase, attributes))
    record_spans = [(span.class_name, span.phrase, span.attributes) for span in record.spans]
    return answer_spans == record_spans


def _check_prompts(
    report: CheckReport, record: SpieRecord, queries: Sequence[str], chip: LabelledChip | None
) -> None:
    prior = record.prior
    if prior and chip is not None and prior != evidence_text(chip.evidence, queries[0]):
        what = "the prior is not the evidence text of the chip's pixels for the query"
        report.add(record.id, "prior", what)
    messages = [turn.content for turn in record.turns if turn.role == "user"]
    for index, (message, query) in enumerate(zip(messages, queries, strict=True)):
        if not query or message != user_message(query, "" if index else prior):
            what = f"user turn {index + 1} is not the message of its query and prior"
            report.add(record.id, "prompt", what)


def invented_numbers(answer: Answer, queries: Sequence[str]) -> list[str]:
    """Numbers in the text of an answer that neither a query nor a constraint contains.

    A refusal measures nothing and may give an example, so that it has none.
    """
    if answer.refusal is not None:
        return []
    constraints = [constraints_text(span.constraints) for span in answer.spans]
    query_numbers = stated_numbers(" ".join([*queries, *constraints]))
    answer_numbers = stated_numbers(fill_slots(answer, lambda *_: " "))
    return [number for number in answer_numbers if number not in query_numbers]


def _check_answer(
    report: CheckReport, record: SpieRecord, answer: Answer, chip: LabelledChip
) -> None:
    if not answer.spans:
        report.answers["refused"] += 1
        return
    try:
        expected = chip.carry_out(answer)
    except QueryError:
        report.answers["with a constraint that this scene cannot answer"] += 1
        return
    labelled = all(chip.known(span.class_name) for span in answer.spans)
    report.answers["on labels" if labelled else "on evidence"] += 1
    for what in disagreements(chip, expected):
        report.add(record.id, "fact", what)
    for slot in _unfilled_slots(report, answer, expected):
        report.add(record.id, "fact", f"{slot} cannot be measured on this chip")


def _unfilled_slots(report: CheckReport, answer: Answer, expected: ExpectedAnswer) -> list[str]:
    """Slots without a value although their mask has pixels."""
    unfilled: list[str] = []

    def fill(number: int, name: str, index_name: str | None) -> str:
        if number in expected.absences:
            return ""
        report.slots += 1
        facts = expected.facts[number]
        text = fact_text(facts, name, index_name)
        # A mask of the whole scene has no pixel outside to measure.
        needs_outside = name in ("outside", "contrast")
        if text == "not available" and (facts.fraction < 1 or not needs_outside):
            unfilled.append(f"<fact:{name}{':' + index_name if index_name else ''}>")
        return text

    fill_slots(answer, fill)
    return unfilled
